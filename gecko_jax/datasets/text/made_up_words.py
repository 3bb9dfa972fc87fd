"""The words of made-up clinical notes. Names are put together from syllables: none is a real person's."""

from __future__ import annotations

from typing import NamedTuple

FIRST_NAMES = ("Bra Cel Dov Fen Gry Hul Jor Kes Lum Mav Nib Orv Pel Quo Rys Sul Tav Urm Vel Zan".split(),
               "dira kon lith mora nox pha rik sunn thul vex wyn zeen".split())  # fmt: skip
LAST_NAMES = ("Ab Bor Cryn Dath Elk Fros Gund Hav Ixt Jum Krell Lorv Munt Nex Ost Plov Quar Rindt Skav Thrum Vosk Wend "
              "Yarv Zub".split(),
              "alume bask corvin dratt elmund fexley gorst hidrow ivash jonk kettle moorn nashly ottrin "
              "pruff".split())  # fmt: skip
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # neither I nor O, which look like digits
MONTHS = "January February March April May June July August September October November December".split()


class Department(NamedTuple):
    """What the notes of a department are about.

    Attributes:
      complaints, findings, treatments: phrases that stand in its notes.
    """

    complaints: tuple[str, ...]
    findings: tuple[str, ...]
    treatments: tuple[str, ...]


DEPARTMENTS = {
    "cardiology": Department(
        ("chest pain on effort", "palpitations at night", "short breath on the stairs", "swollen ankles"),
        ("a regular pulse", "a soft murmur", "a raised blood pressure", "clear lungs", "an irregular rhythm"),
        ("a low dose of a beta blocker", "a water tablet", "an echo of the heart", "a monitor for two days"),
    ),
    "dermatology": Department(
        ("an itching rash on the arm", "a mole that has grown", "dry skin in winter", "blisters on both hands"),
        ("red patches with scales", "a mole of four millimeters", "no sign of infection", "a cracked skin"),
        ("a steroid cream", "a biopsy under local anesthetic", "an ointment twice a day", "a light course"),
    ),
    "orthopedics": Department(
        ("a painful left knee", "a stiff shoulder after a fall", "back pain while lifting", "a twisted ankle"),
        ("full range of movement", "a swollen joint", "a stable ligament", "weak grip", "no fracture on the film"),
        ("a splint for three weeks", "exercises with the therapist", "a tablet against the pain", "a second film"),
    ),
    "pediatrics": Department(
        ("a fever since Monday", "an earache", "a barking cough", "poor sleep and no appetite"),
        ("a red throat", "a bulging ear drum", "normal weight for the age", "warm and moist skin"),
        ("fluids and rest", "a syrup against fever", "a course of drops", "a visit after the weekend"),
    ),
}

# Each style says each thing in its own way; the words in braces are filled in, and a sensitive one is recorded.
STYLES = {
    "full": {
        "opening": (
            "The patient {name}, record number {record}, was seen on {date}.",
            "I saw {name} (record number {record}) in the clinic on {date}.",
            "Thank you for referring {name}, record number {record}, whom we met on {date}.",
        ),
        "complaint": (
            "The main complaint was {complaint} for {count} {unit}.",
            "For {count} {unit} there has been {complaint}.",
        ),
        "finding": ("On examination there was {finding}.", "The examination showed {finding} and {finding}."),
        "treatment": ("We agreed on {treatment}.", "I have started {treatment} and asked for {treatment}."),
        "contact": (
            "The family can be reached under {phone}.",
            "Please call {relative}, who is next of kin, under {phone}.",
        ),
        "closing": ("The access code of the file is {code}.", "The results are filed under the code {code}."),
    },
    "terse": {
        "opening": ("Pt {name}, rec {record}, seen {date}.", "{date}: {name}, rec {record}."),
        "complaint": ("C/o {complaint}, {count} {unit}.", "{complaint} x {count} {unit}."),
        "finding": ("O/e {finding}.", "Exam: {finding}, {finding}."),
        "treatment": ("Plan: {treatment}.", "Rx {treatment}; {treatment}."),
        "contact": ("Tel {phone}.", "NOK {relative}, tel {phone}."),
        "closing": ("Code {code}.", "File code {code}."),
    },
}

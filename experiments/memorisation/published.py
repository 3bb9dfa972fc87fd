"""What others print, beside which ours stand.

The authors' logs (code `ft-memorization` of arXiv 2205.12506): GPT-2 on Penn Treebank, one seed and one learning rate
for each method; GPT-2 ties head and embedding, so that "head only" moves the input embedding there. Recall: the share
of training rows below the threshold that 10 % of the validation rows are below, of target loss minus reference loss.
"""

HEADINGS = ("row", "validation perplexity", "recall at 10 % FPR", "exposure, bits", "source")
SOURCE = "Mireshghallah et al. 2022, logs"
LINES = (
    ("head only", "near 23", ".983 (.898 to .999)", "", SOURCE),
    ("full", "near 23", ".482 (.377 to 1.0)", "", SOURCE),
    ("adapter, r = 16", "near 23", ".384 (.337 to .420)", "", SOURCE),
    ("adapter, r = 2", "near 23", ".644", "", SOURCE),
    ("head only", "25", ".785", "", SOURCE),
    ("full", "25", ".590", "", SOURCE),
    ("adapter, r = 16", "25", ".265", "", SOURCE),
    ("head only", "near 27", "", "13.7", SOURCE),
    ("full", "near 27", "", "11.4", SOURCE),
    ("adapter, r = 2", "near 27", "", "14.3", SOURCE),
)
NOTE = (
    "GPT-2 on Penn Treebank, which no package manager has: these figures stand beside ours to compare the order of the "
    "methods, not the sizes. The ranges are over evaluations near that perplexity, not over seeds."
)

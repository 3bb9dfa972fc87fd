"""What others print, beside which ours stand.

The gap is that of the F1 score and accuracy between a network with ReLU and its HE-friendly student, in percentage
points: AlexNet on chest X-ray and CT images of COVID-19, three classes (arXiv 2111.03362, abstract; 1.1 to 5.3 in its
first version).
"""

GAP_LOW, GAP_HIGH = 0.32, 5.3  # %
FIRST_VERSION_GAP_LOW = 1.1  # %

LINES = (
    ("AlexNet, chest X-ray and CT, 3 classes", f"{GAP_LOW:g} to {GAP_HIGH:g}", "Baruch et al. 2021"),
    ("the same, its first version", f"{FIRST_VERSION_GAP_LOW:g} to {GAP_HIGH:g}", "Baruch et al. 2021, version 1"),
)
HEADINGS = ("network and data", "gap, %", "source")

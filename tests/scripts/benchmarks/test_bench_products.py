"""The floor that scripts.benchmarks.training prints: the products of a step, counted by hand for LeNet."""

from scripts.benchmarks import training
from scripts.benchmarks.cases.products import Product, products


def test_a_step_of_lenet_takes_these_products():
    b, first, second = 64, 26 * 26, 24 * 24  # images, and positions of the two convolutions' kernels
    forward = [(b * first, 9, 32), (b * second, 9 * 32, 64), (b, 12 * 12 * 64, 128), (b, 128, 10)]
    expected = []
    for number, (rows, inner, columns) in enumerate(forward):
        expected += [Product(rows, inner, columns), Product(inner, rows, columns)]
        expected += [Product(rows, columns, inner)] if number else []  # nobody asks for the images' gradient
    assert products(training.layers("LeNet (Architecture 1)", (28, 28, 1))) == expected

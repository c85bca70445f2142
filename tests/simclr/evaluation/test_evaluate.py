import numpy as np

from ntxent.simclr.evaluation.evaluate import confusion_matrix


def test_rows_of_the_confusion_matrix_are_the_true_labels():
    matrix = confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [0, 1, 0]])

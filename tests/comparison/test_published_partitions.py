"""The spatial cross-validation of R's sperrorest and mlr3, met on published data."""

import sys

import numpy as np
import pytest

from lsm.run.paths import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))
import published_partitions

DATA = published_partitions.AREAS / "lsl_published.csv"


@pytest.mark.skipif(not DATA.is_file(), reason=f"no {DATA}: LSM_AREAS names the folder of the published points")
@pytest.mark.parametrize("cut", ["spatial", "random"])
def test_logistic_regression_comes_to_the_published_auroc(cut):
    split, name = published_partitions.read_split(DATA), "logistic regression"
    found = published_partitions.auroc(split, published_partitions.METHODS[name], cut, repeats=40)
    assert len(found) > 195  # of 200 folds nearly all hold both classes
    assert np.mean(found) == pytest.approx(published_partitions.PUBLISHED[name, cut], abs=0.01)

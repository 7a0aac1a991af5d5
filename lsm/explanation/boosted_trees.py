"""SHAP values of the boosting within one block, by the shap library's tree explainer.

The boosting knows a factor twice: its value, and its value within the block. In one block both rise and fall together,
so a split by either is a split of the block's rows by the factor's rank. Hence both are one player, exactly. Most trees
shrink to a few nodes, because most splits do not separate two rows of the block. Values are replaced by their ranks,
small whole numbers: the tree explainer compares in single precision, which would send some samples to the wrong side of
a threshold.
"""

from itertools import pairwise

import numpy as np
import shap

from lsm.learner.boosting import Boosting


class BoostedTrees:
    """The trees of all models of a Boosting, with weights by which they add up to its mean log-odds."""

    def __init__(self, boosting: Boosting):
        self.scale, factors = boosting.scale, boosting.scale.mean.shape[1]
        trees = [(m, grown[0].nodes) for m, model in enumerate(boosting.models) for grown in model._predictors]
        self.ends = np.cumsum([0, *(len(nodes) for _, nodes in trees)])  # where each tree's nodes end among all nodes
        nodes = np.concatenate([nodes for _, nodes in trees])
        first = np.repeat(self.ends[:-1], np.diff(self.ends))
        self.leaf, self.threshold = nodes["is_leaf"].astype(bool), nodes["num_threshold"]
        self.left, self.right = nodes["left"] + first, nodes["right"] + first
        self.value = nodes["value"] / len(boosting.models)
        column = nodes["feature_idx"].astype(int)  # factors, X, Y; in the second model factors, within block, X, Y
        second = np.repeat([m for m, _ in trees], np.diff(self.ends)) == 1
        self.within = second & (column >= factors) & (column < 2 * factors)
        self.player = np.where(second & (column >= factors), column - factors, column)  # factors, X, Y

    def shap_values(self, block: int, x: np.ndarray, background: np.ndarray) -> np.ndarray:
        """SHAP values (samples, factors + 2), in log-odds, of samples x (samples, factors + 2) of one block.

        background (rows, factors + 2) replaces absent factors. The last two columns are X and Y.
        """
        ranks, split = self._ranks(block, np.concatenate([x, background]))
        trees = self._pruned(split, np.ptp(ranks, axis=0))
        if not trees:
            return np.zeros(x.shape)
        explainer = shap.TreeExplainer({"trees": trees}, ranks[len(x):], feature_perturbation="interventional")
        return explainer.shap_values(ranks[:len(x)], check_additivity=False)  # check_sums does it

    def _ranks(self, block: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rank of every value of rows (rows, players) in its column; and for every node, how many different values
        of its column go left."""
        ranks, split = np.empty(rows.shape), np.zeros(len(self.leaf))
        for player, column in enumerate(rows.T):
            values, ranks[:, player] = np.unique(column, return_inverse=True)
            own = ~self.leaf & (self.player == player)
            split[own] = np.searchsorted(values, self.threshold[own], side="right")
            if (own := own & self.within).any():
                # In single precision, as BlockScale.transform computes them.
                within = (values.astype(np.float32) - self.scale.mean[block, player]) / self.scale.sd[block, player]
                split[own] = np.searchsorted(within, self.threshold[own], side="right")
        return ranks, split

    def _pruned(self, split: np.ndarray, highest: np.ndarray) -> list[dict]:
        """The trees as the tree explainer takes them, without splits that send all ranks the same way.

        highest  rank of each player (players,). A tree of one leaf says nothing about factors and is left out.
        """
        onward = np.arange(len(self.leaf))
        all_left, all_right = ~self.leaf & (split > highest[self.player]), ~self.leaf & (split == 0)
        onward[all_left], onward[all_right] = self.left[all_left], self.right[all_right]
        while not np.array_equal(onward, onward[onward]):
            onward = onward[onward]
        left, right, root = onward[self.left], onward[self.right], onward[self.ends[:-1]]
        reached = np.zeros(len(self.leaf), bool)
        while len(root):
            reached[root] = True
            inner = root[~self.leaf[root]]
            root = np.concatenate([left[inner], right[inner]])
        place = np.append(0, reached.cumsum())
        trees = []
        for start, end in pairwise(self.ends):
            kept = start + np.flatnonzero(reached[start:end])  # children come after their parents, so the root is first
            if len(kept) == 1:
                continue
            leaf = self.leaf[kept]
            children = [np.where(leaf, -1, place[side[kept]] - place[start]) for side in (left, right)]
            trees.append({"children_left": children[0], "children_right": children[1], "children_default": children[0],
                          "features": np.where(leaf, -2, self.player[kept]), "thresholds": split[kept] - 0.5,
                          "values": self.value[kept][:, None], "node_sample_weight": np.ones(len(kept))})
        return trees

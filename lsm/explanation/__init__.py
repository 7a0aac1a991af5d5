"""Which factors the model of a block uses: SHAP values, permutation importance, and the ranking by both."""

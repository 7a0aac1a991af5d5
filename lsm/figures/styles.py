"""One style for all figures: sizes, colours, lines and marks."""

# Sizes in inches; a page is 190 mm wide. Classes differ in lightness and points in shape, for print in grey.
WIDTH, COLUMN, MAP, PANEL = 7.48, 3.54, 5.2, 1.55
STYLE = {"font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8, "axes.linewidth": 0.6,
         "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False, "legend.fontsize": 7.5,
         "lines.linewidth": 1.2, "pdf.fonttype": 42, "image.interpolation": "none",
         "grid.color": "#dddddd", "grid.linewidth": 0.5}
POINTS = {"non-landslide": {"marker": "o", "facecolors": "none", "edgecolors": "#4d4d4d", "linewidths": 0.35},
          "landslide": {"marker": "^", "facecolors": "#c51b1b", "edgecolors": "none", "linewidths": 0},
          "InSAR": {"marker": "s", "facecolors": "#2171b5", "edgecolors": "none", "linewidths": 0}}
KINDS = {"inventory": "landslide", "absence": "non-landslide", "insar": "InSAR"}  # kind of point by origin
NAMES = {"landslide": "landslide", "non-landslide": "non-landslide", "InSAR": "weak landslide (InSAR)"}  # in legends
BEFORE = {"color": "#7f7f7f", "linestyle": "--"}
AFTER = {"color": "#08519c", "linestyle": "-"}
TINTS = ("#e3ebdf", "#f0ead8", "#e6dccb", "#f7f5f2")  # terrain, low to high
DEFORMATION = ("#b35806", "#f1a340", "#f5f1e6", "#998ec3", "#542788")  # below 0 to above; velocity: away to towards
SPEEDS = ("#9ecae1", "#2171b5", "#08306b")            # InSAR speed, low to high
RAMP = ("#fcc35a", "#e4604e", "#8e2a86", "#1b0c41")    # any factor, low to high
CLASS_TONES = ("#f2e3b3", "#7fb8a4", "#2f5d8a", "#b5633a", "#1f2440", "#b9a7c9", "#6f8f3a", "#8a3f4d", "#e8b02e",
               "#9fd3f0", "#d9799f", "#5a5a5a")  # of the largest classes; all others are pale
ASPECT_TONES = ("#1f2440", "#d9895a", "#fbe9b0", "#44689a", "#ffffff")  # north, east, south, west, flat
THIN = "#7b3294"                                      # veil over blocks with few samples
SEA, INK = "#eef3f7", "#333333"
PALE = "#c9c9c9"                                      # of what is in the background
MEASURES = {"accuracy": "accuracy", "kappa": "kappa", "auroc": "AUROC", "pr_auc": "PR-AUC", "brier": "Brier score",
            "ece": "calibration\nerror", "top_tenth": "landslides\non top 10 %\nof the area"}
# Colour, line and mark of each method, the same in all figures. Greys are for methods that hardly model anything.
METHODS = {"ours": ("#d55e00", "-", "D"),
           "ours, local members": ("#08519c", "-", "o"),
           "ours, regional members": ("#2c7fb8", "-.", "o"),
           "ours, not adapted": ("#6baed6", "--", "o"),
           "ours, published recipe": ("#54278f", "-", "s"),
           "ours, published recipe, not adapted": ("#9e9ac8", "--", "s"),
           "block alone": ("#2aa6b8", "-.", "p"),
           "one network": ("#7bccc4", "--", "h"),
           "one network, fine-tuned": ("#0c7c78", "-.", "h"),
           "SVM": ("#b58900", "-", "^"),
           "MLP": ("#e6ab02", "--", "v"),
           "DBN": ("#8c510a", "-.", ">"),
           "RF": ("#1b7837", "-", "<"),
           "RF per block": ("#7fbf7b", "--", "<"),
           "boosting": ("#f4a0c4", "-", "P"),
           "boosting + XY": ("#c51b7d", "-", "P"),
           "boosting + within block": ("#de77ae", "--", "X"),
           "boosting + within block + XY": ("#8e0152", "-.", "X"),
           "logistic regression": ("#3a7d44", ":", "1"),
           "logistic regression + XY": ("#5fa052", ":", "2"),
           "logistic regression, tuned": ("#00563f", ":", "1"),
           "additive model, tuned": ("#006d2c", "--", "2"),
           "RF + XY": ("#74c476", "-.", "<"),
           "RF, tuned": ("#00441b", "-", "3"),
           "RF, tuned + XY": ("#41ab5d", "--", "4"),
           "RF, tuned + within block + XY": ("#a1d99b", "-.", "3"),
           "boosting, tuned": ("#67001f", "-", "+"),
           "boosting, tuned + XY": ("#e7298a", "--", "x"),
           "boosting, tuned + within block + XY": ("#980043", "-.", "|"),
           "boosting, mean of 6, tuned + XY": ("#ae017e", "-", "*"),
           "boosting, mean of 6, tuned + within block + XY": ("#49006a", "--", "*"),
           "networks + XY, mean of 6": ("#0868ac", ":", "h"),
           "nearest neighbours in XY": ("#404040", ":", "*"),
           "block landslide rate": ("#7a7a7a", ":", "d"),
           "slope alone": ("#a8a8a8", ":", ".")}
OTHER = ("#000000", ":", "H")                         # a method that is not in METHODS
IN_CLASSES = ("lsm_map", "method_maps")               # maps in classes, which depend on the breaks too
PROTOCOLS = ("published", "spatial", "blocked", "partitions", "random", "temporal", "augmentation")  # drawn apart
PROTOCOL_MARKS = ("o", "s", "^", "v", "D", "P", "X")                 # in the order of the tables
# Colours of the rules of stage 0; not blue, which shows speed.
RULES = ("#e69f00", "#009e73", "#cc79a7", "#8c510a", "#7f3c8d", "#b8b800", "#d55e00", "#000000")

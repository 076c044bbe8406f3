"""The kill list: mistakes seen in the wild, each as an edit of the core, and the check that turns red under it.

`test_mutants.py` runs every check twice, on an unchanged copy of the core (green) and on the edited one (red).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mutant:
    mistake: str
    file: str  # inside isonum_core
    edits: tuple[tuple[str, str], ...]  # text that occurs exactly once -> what the mistake writes
    check: tuple[str, str]  # test file, test function
    arguments: dict = field(default_factory=dict)  # besides rng


MOMENTS, ROWS = "geometry/moments.py", "geometry/rows.py"
SCORES, NULL, MEAN_HALF = "geometry/scores.py", "geometry/null.py", "geometry/mean_half.py"
NEIGHBOURS = "geometry/neighbours.py"
FIELDS = ("test_moments", "test_every_field_is_its_definition")
TWINS = ("test_scores", "test_a_score_equals_its_twin")

MUTANTS = (
    Mutant(
        "rows for columns",
        MOMENTS,
        (("dict(dense=gram(y.T).double())", "dict(dense=gram(y).double())"),),
        FIELDS,
        dict(n=30, d=30),  # square, so that no shape gives it away
    ),
    Mutant(
        "* for @",
        MOMENTS,
        (("dense = torch.outer(between, between)", "dense = between * between"),),
        ("test_moments", "test_merging_any_split_equals_one_pass"),
        dict(n=60, d=50),
    ),
    Mutant(
        "no centring",
        MOMENTS,
        (("    y = x - shift\n", "    y = x - 0\n"), ("    y += -rest  #", "    rest = rest - shift  #")),
        FIELDS,
        dict(n=200, d=9),
    ),
    Mutant(
        "n^2 for n (n - 1)",
        MEAN_HALF,
        (("- n) / (n * (n - 1))", "- n) / n**2"),),
        TWINS,
        dict(name="mean_cosine", shape=(80, 9)),
    ),
    Mutant(
        "pairs i = j counted as pairs",
        MEAN_HALF,
        (("clamp(max=n * n) - n)", "clamp(max=n * n))"),),
        TWINS,
        dict(name="mean_cosine", shape=(80, 9)),
    ),
    Mutant(
        "wrong ddof",
        MOMENTS,
        (("return self.squares / self._freedom()", "return self.squares / self.n"),),
        TWINS,
        dict(name="mean_share", shape=(80, 9)),
    ),
    Mutant(
        "mask ignored",
        ROWS,
        (("x = x.shape[0], x[mask]", "x = x.shape[0], x"),),
        ("test_moments", "test_mask_equals_deletion"),
    ),
    Mutant(
        "float64 cast down",
        ROWS,
        (("    return x, dropped\n", "    return x.float(), dropped\n"),),
        TWINS,
        dict(name="iso_score", shape=(80, 9)),
    ),
    Mutant(
        "rows of zeros counted as directions",
        MEAN_HALF,
        (("n = found.n - found.zeros", "n = found.n"),),
        ("test_scores_refusals", "test_rows_of_zeros_are_left_out_of_cosines_with_a_warning"),
    ),
    Mutant(
        "weights of C and C0 exchanged",
        SCORES,
        (("(1 - zeta) ** 2 * own_sq", "zeta**2 * own_sq"), ("+ zeta**2 * prior_sq", "+ (1 - zeta) ** 2 * prior_sq")),
        ("test_scores", "test_iso_score_star_equals_its_twin_for_any_prior"),
        dict(shape=(80, 9), zeta=0.2),
    ),
    Mutant(
        "fourth moments taken for Gaussian",
        NULL,
        (("fro_sq + tr_sq - n * k)", "fro_sq + tr_sq - n * (2 * fro_sq + tr_sq) / n)"),),
        ("test_null", "test_the_unbiased_traces_are_u_statistics"),
        dict(n=6, d=3),
    ),
    Mutant(
        "ranks from 0",
        NEIGHBOURS,
        (("np.arange(1, keep + 1) / n", "np.arange(keep) / n"),),
        ("test_neighbours", "test_dimensions_equal_their_twins"),
        dict(n=60, d=3),
    ),
    Mutant(
        "a row is its own neighbour",
        NEIGHBOURS,
        ((".kneighbors(return_distance=False)", ".kneighbors(y - y.mean(0), return_distance=False)"),),
        ("test_neighbours", "test_dimensions_equal_their_twins"),
        dict(n=60, d=3),
    ),
    Mutant(
        "repeated rows counted as neighbours",
        NEIGHBOURS,
        (("    first = _first_of_each_chain(y, roundings * eps)\n", "    first = range(len(y))\n"),),
        ("test_neighbours", "test_rows_equal_up_to_the_rounding_of_their_type_are_one"),
    ),
    Mutant(
        "the band of Hoeffding's lemma is twice as wide",
        "geometry/partition_expansions.py",
        (("(r * row_diameter(w)) ** 2 / 8", "(r * row_diameter(w)) ** 2 / 4"),),
        ("test_partition_expansions", "test_first_order_is_its_statement"),
        dict(r=0.7),
    ),
)

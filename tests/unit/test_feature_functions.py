import pytest

from ratchet.errors import SpecError
from ratchet.feature_functions import load_function


def test_loads_the_function_that_a_spec_names():
    from feature_views.flight_delay import build_features

    assert load_function("feature_views.flight_delay:build_features") is build_features


@pytest.mark.parametrize(
    "reference",
    [
        "feature_views.flight_delay:nothing",
        "feature_views.nowhere:build",
        "feature_views.flight_delay:ZONE",
        "no_colon",
        ":x",
    ],
)
def test_a_function_that_is_not_there_is_an_error_that_names_it(reference):
    with pytest.raises(SpecError, match=reference.split(":")[0] or "function"):
        load_function(reference)

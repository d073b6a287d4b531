"""All rules, and the check of a recipe against them."""

from __future__ import annotations

from collections.abc import Callable

from palate.errors import SettingError
from palate.models.base import Recipe
from palate.testing import fits, lists, models
from palate.testing.case import Broken, Case

# In this order: the first that is broken is most likely the cause of others.
RULES: tuple[Callable[[Case], None], ...] = (
    models.recipes_and_models_are_frozen_dataclasses,
    models.settings_say_all_of_a_recipe,
    models.settings_may_be_numbers_of_numpy,
    models.settings_of_another_type_are_refused,
    fits.a_log_without_weight_is_refused,
    fits.a_fit_leaves_the_log_as_it_is,
    lists.scores_are_finite_float32_of_users_by_items,
    lists.the_ranking_is_the_order_of_the_scores,
    lists.seen_items_are_left_out_unless_kept,
    lists.only_and_exclude_are_kept_to,
    lists.a_long_k_gives_a_short_list,
    lists.k_is_a_whole_number_of_one_or_more,
    lists.a_user_without_history_gets_an_answer,
    lists.unknown_items_of_a_history_are_ignored,
    lists.a_history_of_everything_gets_an_empty_list,
    lists.histories_may_come_from_another_log,
    lists.the_answer_to_a_history_stands_for_itself,
    lists.explanations_come_from_the_history,
    lists.similar_items_keep_to_what_is_allowed,
    fits.a_recipe_fits_again_and_to_another_log,
    fits.ids_of_every_kind_come_back,
    fits.logs_at_the_edge_are_fitted,
    fits.repeated_and_weightless_events_are_fitted,
    fits.a_dislike_is_no_like,
    fits.events_of_extreme_age_and_weight_are_fitted,
    models.a_saved_model_answers_the_same,
    models.threads_share_a_model,
    models.numbers_that_are_not_finite_are_refused,
)


class BrokenRule(AssertionError):
    """A recipe breaks a rule: the message names the recipe and the rule, and says where it is broken."""


def check_recipe(recipe: Recipe) -> None:
    """Check a recipe against everything that Palate asks of its own.

    It is fitted to about 50 logs of up to 30 users and 20 items, with a catalogue of titles: give it settings that
    fit such a log in a moment. Raises `BrokenRule` for the first rule that is broken, `SettingError` for what is no
    recipe. The rules themselves are `palate.testing.RULES`, to be checked one by one with `check_rule`.

    >>> from palate import EASE
    >>> check_recipe(EASE(l2=100))
    """
    if not isinstance(recipe, Recipe):
        raise SettingError(f"recipe={recipe!r}: must be a recipe, as EASE(l2=100)")
    case = Case(recipe)
    for rule in RULES:
        check_rule(rule, case)


def check_rule(rule: Callable[[Case], None], case: Case) -> None:
    """Check one rule; raises `BrokenRule`, also for an error that the rule does not expect."""
    name = rule.__name__.replace("_", " ")
    try:
        rule(case)
    except Exception as error:
        where = f"{type(error).__name__}: {error}" if not isinstance(error, Broken) else str(error)
        raise BrokenRule(f"{type(case.recipe).__name__} breaks the rule {name!r}: {where}") from error

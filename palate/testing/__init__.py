"""Checks for recipes of others: `check_recipe` runs what the tests of Palate ask of every recipe of its own."""

from palate.testing.case import Case
from palate.testing.check import RULES, BrokenRule, check_recipe, check_rule

__all__ = ["RULES", "BrokenRule", "Case", "check_recipe", "check_rule"]

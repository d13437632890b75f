"""Hydra's groups. Recipes of ``train`` say what they differ in from the defaults of ``sfvgen_plan.learning.recipe``."""

from hydra.core.config_store import ConfigStore

from sfvgen_plan.learning.recipe import Recipe, blank

ConfigStore.instance().store(group="train", name="defaults", node=blank(Recipe))

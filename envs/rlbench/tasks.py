"""Names, instructions and suites of RLBench's tasks (no simulator is imported here)."""

from __future__ import annotations

from sfvgen_plan.data.rlbench_state import TASK_PREFIX
from sfvgen_plan.envs.tasks import without_prefix
from sfvgen_plan.errors import unknown_name

PREFIX = TASK_PREFIX

_UPSTREAM = """
basketball_in_hoop beat_the_buzz block_pyramid change_channel change_clock close_box close_door close_drawer
close_fridge close_grill close_jar close_laptop_lid close_microwave empty_container empty_dishwasher
get_ice_from_fridge hang_frame_on_hanger hit_ball_with_queue hockey insert_onto_square_peg insert_usb_in_computer
lamp_off lamp_on lift_numbered_block light_bulb_in light_bulb_out meat_off_grill meat_on_grill move_hanger open_box
open_door open_drawer open_fridge open_grill open_jar open_microwave open_oven open_washing_machine open_window
open_wine_bottle phone_on_base pick_and_lift pick_and_lift_small pick_up_cup place_cups place_hanger_on_rack
place_shape_in_shape_sorter play_jenga plug_charger_in_power_supply pour_from_cup_to_cup press_switch push_button
push_buttons put_all_groceries_in_cupboard put_books_on_bookshelf put_bottle_in_fridge put_groceries_in_cupboard
put_item_in_drawer put_knife_in_knife_block put_knife_on_chopping_board put_money_in_safe
put_plate_in_colored_dish_rack put_rubbish_in_bin put_shoes_in_box put_toilet_roll_on_stand put_tray_in_oven
put_umbrella_in_umbrella_stand reach_and_drag reach_target remove_cups scoop_with_spatula screw_nail set_the_table
setup_checkers setup_chess slide_block_to_target slide_cabinet_open slide_cabinet_open_and_place_cups solve_puzzle
stack_blocks stack_chairs stack_cups stack_wine straighten_rope sweep_to_dustpan take_cup_out_from_cabinet
take_frame_off_hanger take_item_out_of_drawer take_lid_off_saucepan take_money_out_safe take_off_weighing_scales
take_plate_off_colored_dish_rack take_shoes_out_of_box take_toilet_roll_off_stand take_tray_out_of_oven
take_umbrella_out_of_umbrella_stand take_usb_out_of_computer toilet_seat_down toilet_seat_up turn_oven_on turn_tap
tv_on unplug_charger water_plants weighing_scales wipe_desk
"""

FORK_ONLY = ("slide_block_to_color_target", "place_wine_at_rack_location", "sweep_to_dustpan_of_size")
"""Tasks of the 18-task leaderboards that only the fork behind them has, not upstream RLBench."""

TASKS = frozenset((*_UPSTREAM.split(), *FORK_ONLY))
"""All of upstream's tasks and those of the fork, without prefix."""

MADE = ("return",)
"""Tasks that this package makes at run time, on RLBench's bare table; see ``return_env``."""

SHAPED = ("reach_target", "slide_block_to_target", "take_lid_off_saucepan")
"""The only tasks that define a shaped reward."""

SUITES: dict[str, tuple[str, ...]] = {
    "rlbench-data": (
        "reach_target",
        "push_button",
        "slide_block_to_target",
        "open_drawer",
        "close_drawer",
        "pick_and_lift",
        "take_lid_off_saucepan",
        "close_box",
        "close_laptop_lid",
        "put_money_in_safe",
    ),
    "rlbench-wiw4": ("push_buttons", "slide_block_to_color_target", "insert_onto_square_peg", "stack_cups"),
    "rlbench-18": (
        "put_item_in_drawer",
        "reach_and_drag",
        "turn_tap",
        "slide_block_to_color_target",
        "open_drawer",
        "put_groceries_in_cupboard",
        "place_shape_in_shape_sorter",
        "put_money_in_safe",
        "push_buttons",
        "close_jar",
        "stack_blocks",
        "place_cups",
        "place_wine_at_rack_location",
        "light_bulb_in",
        "sweep_to_dustpan_of_size",
        "insert_onto_square_peg",
        "meat_off_grill",
        "stack_cups",
    ),
    "rlbench-return": MADE,
}
"""Task sets, without prefix: those with recorded episodes, World-in-World's four, the leaderboards' eighteen, and the
paper's task."""


def canonical(name: str) -> str:
    """The full task name: both "reach_target" and "rlbench/reach_target" give "rlbench/reach_target".

    Raises:
        UserError: there is no such task; the message lists the nearest names.
    """
    name = str(name)  # None or a number is told of as any other unknown name
    plain = name.removeprefix(PREFIX)
    if plain not in TASKS and plain not in MADE:
        known = (PREFIX + task for task in (*TASKS, *MADE))
        raise unknown_name("task", name, known, without_prefix, f"{__name__}.TASKS")
    return PREFIX + plain


def is_made(task: str) -> bool:
    """Whether ``task`` (with prefix) is one that this package makes."""
    return task.startswith(PREFIX) and task.removeprefix(PREFIX) in MADE

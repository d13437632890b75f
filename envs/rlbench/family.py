"""RLBench's tasks, and the family that they are (no simulator is imported here)."""

import os

from sfvgen_plan.cameras import SEPARATOR
from sfvgen_plan.data.rlbench_state import SOURCE, TASK_PREFIX
from sfvgen_plan.envs.family import Family
from sfvgen_plan.envs.memory import return_task

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

TASKS = frozenset((*_UPSTREAM.split(), *FORK_ONLY))  # all of upstream's tasks and those of the fork, without prefix

MAX_DISPLACEMENT = 0.05  # metres that the tip moves along an axis at 1
MAX_TURN = 0.25  # radians that the tip turns about an axis at 1
CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")

MADE = ("return",)  # tasks that this package makes at run time, on RLBench's bare table; see return_env
NEEDS_FRESH_PROCESS = ("pour_from_cup_to_cup",)  # tasks that only a simulator just started resets to the same scene

BUILD_VARIABLE = "SFVGEN_RLBENCH_BUILD"
"""Names a simulator that is not the official binary, in words that results carry."""

FAMILY = Family(
    name="rlbench",
    title="RLBench",
    env_id="sfvgen/RLBench-v0",
    version="rlbench 1.2.0",
    build=os.environ.get(BUILD_VARIABLE, ""),
    tasks={
        # Their names in words: RLBench's own sentences change with the variation.
        **{TASK_PREFIX + task: task.replace("_", " ") for task in sorted(TASKS)},
        **{TASK_PREFIX + task: return_task.INSTRUCTION for task in MADE},
    },
    source=SOURCE,
    action_dim=7,
    displacement=MAX_DISPLACEMENT,
    camera=f"front{SEPARATOR}wrist",
    decisions=50,
    linger=0,
    fixed_repeat=True,
    expert="sfvgen_plan.agents.rlbench_experts:rlbench_expert",
    unplayed=tuple(TASK_PREFIX + task for task in MADE),
    examine="sfvgen_plan.envs.rlbench.diagnosis:examine",
)


def is_made(task: str) -> bool:
    """Whether ``task`` (with prefix) is one that this package makes."""
    return task.removeprefix(TASK_PREFIX) in MADE

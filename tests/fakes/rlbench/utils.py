from rlbench.backend.toy_task import ToyTask

VARIATIONS = {
    "reach_target": 20,
    "push_button": 18,
    "slide_block_to_target": 1,
    "open_drawer": 3,
    "close_drawer": 3,
    "pick_and_lift": 20,
    "take_lid_off_saucepan": 1,
    "close_box": 1,
    "close_laptop_lid": 1,
    "put_money_in_safe": 3,
    "push_buttons": 50,
    "pour_from_cup_to_cup": 1,
    "stack_cups": 20,
    "insert_onto_square_peg": 20,
}


class InvalidTaskName(Exception):
    pass


def name_to_task_class(task_file):
    name = task_file.replace(".py", "")
    if name not in VARIATIONS:
        raise InvalidTaskName(f"The task file '{name}' does not exist or cannot be compiled.")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    return type(class_name, (ToyTask,), {"name": name, "variations": VARIATIONS[name]})

from rlbench.backend.toy_task import ToyTask

VARIATIONS = {"reach_target": 20, "open_drawer": 3, "pick_and_lift": 20, "pour_from_cup_to_cup": 1}


class InvalidTaskName(Exception):
    pass


def name_to_task_class(name):
    if name not in VARIATIONS:
        raise InvalidTaskName(f"The task file '{name}' does not exist or cannot be compiled.")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    return type(class_name, (ToyTask,), {"name": name, "variations": VARIATIONS[name]})

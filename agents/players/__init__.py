"""The agents of the registry: what ``--agent`` takes, their settings, and how they are made from them.

An agent is a frozen dataclass of ``AgentSettings`` with a name, in any file of this folder: its docstring says in a
line what the agent does, and its ``build(given)`` makes it. Files are read to tell names and settings, so what is heavy
is imported in ``build``.
"""

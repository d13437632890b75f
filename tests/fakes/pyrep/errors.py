class PyRepError(Exception):
    pass

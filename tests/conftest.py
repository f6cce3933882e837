"""What all tests share."""

# The plugin of hypothesis imports it when it prints its summary. Python 3.11.2 can fail to compile a module then, if
# much garbage is collected meanwhile (cpython#106905); so it is imported while there is none.
import hypothesis  # noqa: F401

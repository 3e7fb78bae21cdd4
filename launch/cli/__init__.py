"""The command line: options in, one call, a line out.

Begin with `app`, where every command is registered. Commands import what they need when they run: `--help` must not
wait for torch. `options` has what several commands take. What a command decides stands in another room.
"""

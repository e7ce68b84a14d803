"""The commands: parse, call, print.

Door: main. Everything may be imported here, on first use, so that --help answers at once; nothing imports this package.
"""

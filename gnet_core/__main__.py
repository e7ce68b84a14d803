"""`python -m gnet_core` is `gnet`."""

from gnet_core.cli.main import main

main()

"""How this very program is started again: by a path that stays where it can be told.

For what Parler starts itself, such as this machine's hub. What is written into the
configurations of other apps is `parler.hosts.program`'s to say.
"""

import shutil
import sys
from pathlib import Path

from parler.machine.files import same_file

NAME = "parler"


def own_command() -> list[str]:
    """The words that start this program, whether installed, zipped or a checkout.

    An installed program is started by the name under which it is found: what that
    leads to is another folder after an upgrade. The single file is started as a file,
    because no interpreter could import what is in it.
    """
    archive = getattr(
        getattr(sys.modules["__main__"], "__loader__", None), "archive", None
    )
    if archive:
        return [sys.executable, str(Path(archive).absolute())]
    started, installed = Path(sys.argv[0]), shutil.which(NAME)
    if installed and started.name == NAME and same_file(Path(installed), started):
        return [str(Path(installed).absolute())]
    # -P: no folder called `hub` in the current directory may come in between.
    return [sys.executable, "-P", "-m", NAME]

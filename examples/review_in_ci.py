"""A CI job that asks for a review of its commits and waits for the verdict.

    python review_in_ci.py --room team --base origin/main --wait 600

The reviewer applies the bundle, looks, and answers the message with a line that starts
with `approved` or `rejected`. The job passes, fails, or says that nobody answered: its
exit status is 0, 1 or 2. It uses the command line, as a job in any language would.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any


def parler(*arguments: str) -> Any:
    """What a command says with --json; its error ends the job."""
    done = subprocess.run(
        ["parler", *arguments, "--json"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--room", required=True)
    options.add_argument("--base", default="origin/main")
    options.add_argument("--wait", type=int, default=600, metavar="SECS")
    given = options.parse_args()
    room = ("--room", given.room)

    (pushed,) = parler("push", *room, "--base", given.base, "--note", "review please")
    print(f"pushed {pushed['tip'][:12]} as {pushed['blob']}", flush=True)
    deadline = time.monotonic() + given.wait
    while time.monotonic() < deadline:
        # What recv shows counts as read, so each round shows only what is new.
        for found in parler("recv", *room):
            for message in found["messages"]:
                parts = message["parts"]
                text = " ".join(
                    part["text"] for part in parts if part["kind"] == "text"
                )
                verdict = text.strip().lower()
                if message["signature"] != "valid":
                    continue  # anybody could have written that
                if verdict.startswith(("approved", "rejected")):
                    print(f"{message['from']['name']}: {text}")
                    return 0 if verdict.startswith("approved") else 1
        time.sleep(2)
    print("nobody answered in time")
    return 2


if __name__ == "__main__":
    sys.exit(main())

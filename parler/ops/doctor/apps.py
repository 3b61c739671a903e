"""What the doctor says about agent apps: is each wired, and does that work?

How an app is looked at is `parler.apps.install.health`; nothing is launched or written.
"""

from parler.apps.install.health import State
from parler.apps.registry import all_apps
from parler.errors import ConfigError
from parler.ops.connect import AppHealth, Reach, Setting, examine_all
from parler.ops.doctor.installation import Check, broken, ok, warn


async def app_checks(setting: Setting, *, reach: Reach) -> list[Check]:
    """One check for each app that is here.

    Raises:
        ConfigError: Our own notes on apps are damaged.
    """
    listed = await examine_all(all_apps(), setting, reach=reach)
    checks = [_check(app) for app in listed.hosts if app.state is not State.ABSENT]
    return checks or [ok("apps", "no agent app was found")]


def _check(app: AppHealth) -> Check:
    wire = f"parler connect {app.id}"
    if app.state is State.UNWIRED:
        check = ok(app.id, f"{app.title} is here, and not wired")
        check.next = wire
        return check
    serious = [trouble for trouble in app.troubles if not trouble.note]
    told = "; ".join(trouble.what for trouble in serious or app.troubles)
    mend = next((one.mend for one in serious or app.troubles if one.mend), None)
    if app.state is State.BROKEN:
        why = ConfigError(f"{app.title}: {told or 'it does not work'}")
        return broken(app.id, why, step=mend or wire)
    if app.troubles:
        return warn(app.id, f"{app.title}: {told}", mend)
    return ok(app.id, f"{app.title} is wired to {app.hub}")

"""Shared by the client scripts in Python: counts checks and prints those that fail."""

import sys

passed = 0
failed = 0


def check(name: str, got: object, should: object) -> None:
    global passed, failed
    if got == should:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {got!r} should be {should!r}")


def done(client: str) -> None:
    print(f"{client}: {passed} passed, {failed} failed")
    sys.exit(failed > 0)

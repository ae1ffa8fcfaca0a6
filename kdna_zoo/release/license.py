"""The licence that lies beside the weights: its identifier checked, its text as a file."""

import re
from importlib import metadata

from kdna_zoo.errors import UserError
from kdna_zoo.paths import checkout

DEFAULT_LICENSE = "apache-2.0"  # that of this package


def checked_license(license: str) -> str:
    """Return the identifier in lower case.

    Raises:
        UserError: It cannot be one.
    """
    identifier = license.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", identifier):
        raise UserError(
            f"{license!r} is no licence identifier. The Hub knows apache-2.0, mit, cc-by-4.0,"
            " cc-by-nc-4.0, bsd-3-clause, openrail and more; use `other` for one it does not know."
        )
    return identifier


def license_text(
    license: str, data_name: str, data_license: str | None, source: str | None = None
) -> str:
    """Return the LICENSE file of a release.

    Args:
        license: Identifier of the weights' licence.
        data_name: What the weights were trained on.
        data_license: Its licence, where known.
        source: The weights that these were converted from; None: these were trained.
    """
    notice = (
        f"The weights in this folder are under the licence {license}"
        f" (https://huggingface.co/docs/hub/repositories-licenses).\n"
        + (
            f"They were converted from {source}, whose licence they take over.\n"
            if source
            else f"They were trained on {' '.join(data_name.split())}, whose licence is"
            f" {data_license or 'not recorded'}.\n"
        )
    )
    own = _own_text() if license == DEFAULT_LICENSE and source is None else ""
    return f"{notice}\n{own}" if own else notice


def _own_text() -> str:
    """Return this package's licence, from the checkout or from what was installed."""
    top = checkout()
    if top:
        return (top / "LICENSE").read_text(encoding="utf-8")
    try:
        installed = metadata.distribution("kdna-zoo")
    except metadata.PackageNotFoundError:
        return ""
    return installed.read_text("licenses/LICENSE") or ""

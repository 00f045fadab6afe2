# SPDX-License-Identifier: Apache-2.0
"""A hook of the site: links to files of the repository that are no pages of it are shown as the path they lead to."""

import re
from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\]]+)\]\({re.escape(up)}([^)]+)\)", r"\1 (`\2`)", markdown)

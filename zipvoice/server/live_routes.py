# SPDX-License-Identifier: Apache-2.0
"""Text that comes in word by word, and its sound: a WebSocket."""

from fastapi import APIRouter

router = APIRouter()

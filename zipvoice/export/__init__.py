# SPDX-License-Identifier: Apache-2.0
"""A model directory -> graphs that need no PyTorch."""

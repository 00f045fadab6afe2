# SPDX-License-Identifier: Apache-2.0
"""Every setting once: frozen dataclasses, one module a room; the string below a field is its help text.

Importing these modules loads nothing heavy.
"""

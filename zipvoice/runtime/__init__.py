# SPDX-License-Identifier: Apache-2.0
"""What computes: a protocol, and a file for each library that implements it; only that file imports the library."""

# SPDX-License-Identifier: Apache-2.0
"""Processes that have imported the package when they start, for tests of several of them."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["zipvoice.training.run", "torch.utils.tensorboard", "lhotse.dataset"])

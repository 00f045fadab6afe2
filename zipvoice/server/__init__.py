# SPDX-License-Identifier: Apache-2.0
"""Speech over the network: HTTP as OpenAI's clients speak it, WebSockets and Wyoming, over one scheduler."""

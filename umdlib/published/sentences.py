"""The sentences of both papers that are tested."""

from umdlib.published.claims import Claim
from umdlib.published.claims_seganypet import SEGANYPET_CLAIMS
from umdlib.published.claims_umd import UMD_CLAIMS

ALL_CLAIMS: tuple[Claim, ...] = UMD_CLAIMS + SEGANYPET_CLAIMS

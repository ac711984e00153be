//! What the users' stories under `tests/` share.

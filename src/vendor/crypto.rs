//! HMAC, SHA-256 and percent-encoding: primitives only, no scheme.

//! Errors as RFC 9457 Problem Details, with stable codes.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Content type of every error answer.
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $status:literal, $title:literal, $hint:literal;)*) => {
        /// Says why a request was refused. Texts never change meaning; clients decide by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the text form: `transaction_expired`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Finds a code by its text.
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }

            /// Returns the HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Returns a short name for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Returns what to do about it when nothing more specific is known.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)* }
            }
        }
    };
}

error_codes! {
    /// A parameter, header or path segment has no acceptable value.
    BadRequest, "bad_request", 400, "Bad request",
        "see /api/v1/openapi.json for the parameters of this route";
    /// The body is not JSON.
    MalformedJson, "malformed_json", 400, "Malformed JSON",
        "send one JSON value in UTF-8; the detail says where reading stopped";
    /// The body is JSON of another shape.
    WrongType, "wrong_type", 422, "Wrong type",
        "the detail names the field and what was expected; see /api/v1/openapi.json";
    /// The arguments do not fit the method's schema.
    BadArguments, "bad_arguments", 422, "Arguments do not fit the schema",
        "the detail names the argument; `purlin app info APP` lists the methods and their parameters";
    /// The bytes are not a transaction.
    MalformedTransaction, "malformed_transaction", 400, "Malformed transaction",
        "send the canonical borsh bytes of body, public key and signature";
    /// The bytes are not a batch.
    MalformedBatch, "malformed_batch", 400, "Malformed batch",
        "send each transaction as a little-endian u32 length and its canonical bytes";
    /// More transactions than one batch may have.
    BatchTooLong, "batch_too_long", 413, "Batch too long",
        "send the rest in another request";
    /// No token was sent.
    MissingToken, "missing_token", 401, "Missing token",
        "send `Authorization: Bearer TOKEN`; make a token with `purlin token create NAME --scope read`";
    /// The token is not known, or was revoked.
    UnknownToken, "unknown_token", 401, "Unknown token",
        "check the token, or make a new one with `purlin token create NAME --scope read`";
    /// The token does not allow this.
    ScopeTooSmall, "scope_too_small", 403, "Scope too small",
        "use a token with the scope that the detail names";
    /// There is no such route.
    RouteNotFound, "route_not_found", 404, "No such route",
        "see /api/v1/openapi.json for the routes";
    /// The route exists for other methods.
    MethodNotAllowed, "method_not_allowed", 405, "Method not allowed",
        "see the Allow header and /api/v1/openapi.json";
    /// No block there.
    BlockNotFound, "block_not_found", 404, "No such block",
        "GET /api/v1/status gives the current height";
    /// The block is older than what this node keeps.
    BlockPruned, "block_pruned", 410, "Block is not kept here",
        "the detail names the oldest block kept; ask a node that keeps all of history";
    /// Not in the chain and not waiting.
    TransactionNotFound, "transaction_not_found", 404, "No such transaction",
        "it may have expired or never arrived; check the id and submit it again";
    /// No such application.
    AppNotFound, "app_not_found", 404, "No such application",
        "`purlin app list` shows what is installed";
    /// The application has no such query.
    MethodNotFound, "method_not_found", 404, "No such method",
        "`purlin app info APP` lists the methods";
    /// The application's module carries no schema.
    SchemaNotFound, "schema_not_found", 404, "No schema",
        "send borsh arguments as {\"arguments_borsh\": \"0x..\"}, or build the application with purlin-sdk";
    /// Nothing is stored there.
    StateNotFound, "state_not_found", 404, "No such state entry",
        "check the key, or ask with ?proof=true for a proof that it is absent";
    /// No such device.
    DeviceNotFound, "device_not_found", 404, "No such device",
        "`purlin device list` shows what is registered";
    /// The state at that height is gone or not reached yet.
    HeightUnavailable, "height_unavailable", 404, "State of that height is not available",
        "ask for a recent height, or leave the height out";
    /// The block of a cursor left the chain, and what it had is not remembered.
    CursorGone, "cursor_gone", 410, "The cursor's block left the chain",
        "take back what you read of blocks that were not final, and read again from the last final one";
    /// The content type is not one the route reads.
    UnsupportedMediaType, "unsupported_media_type", 415, "Unsupported media type",
        "send application/json, or application/octet-stream where the route takes bytes";
    /// The body is larger than allowed.
    BodyTooLarge, "body_too_large", 413, "Body too large",
        "send less at once";
    /// The request took too long to arrive or to answer.
    RequestTimeout, "request_timeout", 408, "Request timed out",
        "try again; a slow query may need a smaller range";
    /// The transaction was accepted, and no block had it in time.
    WaitTimeout, "wait_timeout", 504, "Not committed in time",
        "the transaction is still waiting; ask GET /api/v1/transactions/ID again";
    /// Too many connections are open.
    TooManyConnections, "too_many_connections", 503, "Too many connections",
        "reuse connections, or raise rpc.connections_max";
    /// Too many streams are open.
    TooManyStreams, "too_many_streams", 503, "Too many streams",
        "close a stream, or raise rpc.streams_max";
    /// Too many slow requests are running.
    Busy, "busy", 503, "Busy",
        "try again in a moment";
    /// The node is stopping.
    Stopping, "stopping", 503, "Stopping",
        "try again when the node is back";
    /// The node cannot serve yet.
    NotReady, "not_ready", 503, "Not ready",
        "wait until GET /readyz answers 200";
    /// A fault of the node.
    Internal, "internal", 500, "Internal fault",
        "see the node's log";
    /// The signature is wrong.
    BadSignature, "bad_signature", 422, "Bad signature",
        "sign the body as it is sent, with the sender's key";
    /// Signed for another chain.
    WrongChain, "wrong_chain", 422, "Wrong chain",
        "sign for the chain id that GET /api/v1/status gives";
    /// The key belongs to another account.
    WrongSender, "wrong_sender", 422, "Wrong sender",
        "set `sender` to the account of the signing key";
    /// Too many or too few actions, or too long an access list.
    TransactionLimits, "transaction_limits", 422, "Outside the limits of a transaction",
        "split it into several transactions";
    /// The nonce was used.
    NonceUsed, "nonce_used", 409, "Nonce already used",
        "use the `next_nonce` that GET /api/v1/accounts/ID gives";
    /// An earlier nonce is missing.
    NonceGap, "nonce_gap", 409, "Nonce leaves a gap",
        "submit the missing transaction first, or use the `next_nonce` that GET /api/v1/accounts/ID gives";
    /// Too late.
    TransactionExpired, "transaction_expired", 422, "Transaction expired",
        "sign it again with a later expiry";
    /// Expires too far ahead.
    ExpiryTooFar, "expiry_too_far", 422, "Expiry too far ahead",
        "sign it again with an expiry nearer to the current height";
    /// The account cannot pay the fee.
    FeeUnpaid, "fee_unpaid", 422, "Too little balance for the fee",
        "transfer some native units to the sender";
    /// The fee is below the chain's minimum.
    FeeTooLow, "fee_too_low", 422, "Fee too low",
        "offer at least the fee that the detail names";
    /// The gas limit is too high or too low.
    GasLimit, "gas_limit", 422, "Gas limit out of range",
        "choose a limit in the range that the detail names; POST /api/v1/transactions/simulate tells the need";
    /// Cannot be in a block for another reason.
    NotIncludable, "not_includable", 422, "Cannot be included",
        "the detail says why";
    /// Submitted before and still waiting, or committed.
    KnownTransaction, "known_transaction", 409, "Transaction is known already",
        "ask GET /api/v1/transactions/ID what became of it";
    /// Another transaction with this nonce waits and pays no less.
    ReplacementUnderpriced, "replacement_underpriced", 409, "Replacement pays too little",
        "offer at least the fee that the detail names, or wait for the other one";
    /// Too many transactions of this sender wait.
    SenderLimit, "sender_limit", 429, "Too many waiting transactions of this sender",
        "wait until some are committed";
    /// The pool is full.
    PoolFull, "pool_full", 503, "Transaction pool is full",
        "try again after the next block, or offer a higher fee";
    /// Dropped from the pool after it was accepted.
    TransactionDropped, "transaction_dropped", 409, "Transaction was dropped",
        "the detail says why; sign it again";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request was refused (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem; `urn:purlin:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:purlin:problem:app_not_found")]
    pub kind: String,
    /// The kind for people, the same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code, see `ErrorCode`.
    #[schema(example = "app_not_found")]
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// What to do next.
    pub hint: String,
}

impl Problem {
    /// Makes the problem of a code with its usual hint.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:purlin:problem:{code}"),
            title: code.title().into(),
            status: code.status(),
            code: code.as_str().into(),
            detail: detail.into(),
            hint: code.hint().into(),
        }
    }

    /// Replaces the hint by a more specific one.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Returns the code, or `None` when this version does not know it.
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::from_text(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_read_back() {
        let texts: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_text(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(!code.hint().is_empty() && !code.title().is_empty(), "{code}");
        }
    }
}

//! What a WebSocket takes, as the reactors use it.

use std::fmt;

use wheelhouse_websocket::{Role, Rules, deflate::most_deflated};

use super::{super::Deflate, WebSocket};

/// The parameters, and the rules that they come to at either end.
pub(crate) struct Frames {
    parameters: WebSocket,
    server: Rules,
    client: Rules,
}

impl Frames {
    pub(in crate::protocol) fn new(parameters: WebSocket) -> Self {
        let rules = |role| Rules {
            role,
            max_message: parameters.max_message,
            max_frame: parameters.max_frame.unwrap_or(usize::MAX),
            max_fragments: u32::try_from(parameters.max_fragments).unwrap_or(u32::MAX),
        };
        Frames { server: rules(Role::Server), client: rules(Role::Client), parameters }
    }

    pub(crate) fn rules(&self, is_client: bool) -> Rules {
        if is_client { self.client } else { self.server }
    }

    /// The most bytes of one message on the wire, without its headers.
    pub(crate) fn most_on_the_wire(&self) -> usize {
        let WebSocket { max_message, max_fragments, .. } = self.parameters;
        match self.parameters.deflate {
            Some(_) => most_deflated(max_message, max_fragments),
            None => max_message,
        }
    }

    pub(crate) fn max_controls(&self) -> usize {
        self.parameters.controls
    }

    pub(crate) fn max_head(&self) -> usize {
        self.parameters.max_head
    }

    pub(crate) fn max_headers(&self) -> usize {
        self.parameters.max_headers
    }

    pub(crate) fn deflate(&self) -> Option<&Deflate> {
        self.parameters.deflate.as_ref()
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parameters.fmt(f)
    }
}

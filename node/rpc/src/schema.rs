//! Reads applications' schemas once per version of their code, and makes JSON of borsh by them.

use parking_lot::Mutex;
use purlin_abi::schema::{AppSchema, DECODED_BYTES_MAX, StateKind};
use purlin_api::{ActionOutput, ActionView, OutcomeView, ReceiptEvent, ReceiptView, TransactionView};
use purlin_primitives::{AppId, CodeHash, Event};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

use crate::{Node, NodeError};

/// Most schemas kept; when more are asked for, all are read again.
const SCHEMAS_MAX: usize = 64;

/// Bytes of JSON that may still be made for one answer: a few bytes of borsh can become megabytes, and an answer has
/// many events.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(DECODED_BYTES_MAX)
    }
}

type Cached = (CodeHash, Option<Arc<AppSchema>>);

/// Schemas by application, valid for one code hash.
#[derive(Debug, Default)]
pub(crate) struct SchemaCache(Mutex<HashMap<AppId, Cached>>);

impl SchemaCache {
    /// Returns an application's schema; `None` when the application is not there, or carries no readable schema.
    pub(crate) fn get(&self, node: &dyn Node, app: &AppId) -> Result<Option<Arc<AppSchema>>, NodeError> {
        let Some(code) = node.app_code_hash(app)? else { return Ok(None) };
        if let Some((cached, schema)) = self.0.lock().get(app)
            && *cached == code
        {
            return Ok(schema.clone());
        }
        let schema = node.app_schema(app)?.and_then(|json| match AppSchema::parse(&json) {
            Ok(schema) => Some(Arc::new(schema)),
            Err(error) => {
                tracing::debug!(%app, %error, "schema cannot be read");
                None
            }
        });
        let mut schemas = self.0.lock();
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(app.clone(), (code, schema.clone()));
        Ok(schema)
    }

    /// Returns an event's fields by name; `None` also when that takes more than is left of `budget`.
    pub(crate) fn event(
        &self,
        node: &dyn Node,
        event: &Event,
        budget: &mut Budget,
    ) -> Result<Option<Value>, NodeError> {
        self.payload(node, &event.app, &event.topic, &event.payload, budget)
    }

    fn payload(
        &self,
        node: &dyn Node,
        app: &AppId,
        topic: &str,
        payload: &[u8],
        Budget(left): &mut Budget,
    ) -> Result<Option<Value>, NodeError> {
        let schema = self.get(node, app)?;
        Ok(schema.and_then(|schema| schema.event(topic)?.schema.decode_within(payload, left).ok()))
    }

    /// Returns the value of a state entry as JSON, when the schema describes its key.
    pub(crate) fn state(
        &self,
        node: &dyn Node,
        app: &AppId,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Value>, NodeError> {
        let Some(schema) = self.get(node, app)? else { return Ok(None) };
        Ok(schema
            .state_field(key)
            .filter(|field| field.kind != StateKind::Set)
            .and_then(|field| field.value.as_ref()?.decode(value).ok()))
    }

    /// Fills in what a receipt says in JSON; `actions` are those of its transaction.
    pub(crate) fn fill_receipt(
        &self,
        node: &dyn Node,
        actions: &[ActionView],
        receipt: &mut ReceiptView,
    ) -> Result<(), NodeError> {
        let mut budget = Budget::default();
        for ReceiptEvent { app, topic, payload, data } in &mut receipt.events {
            *data = self.payload(node, app, topic, payload.as_slice(), &mut budget)?;
        }
        if let OutcomeView::Succeeded { outputs } = &mut receipt.outcome {
            for (ActionOutput { borsh, value }, action) in outputs.iter_mut().zip(actions) {
                if let ActionView::CallApp { app, method, .. } = action {
                    let schema = self.get(node, app)?;
                    *value = schema.and_then(|schema| {
                        schema.call(method).ok()?.returns.decode_within(&borsh.0, &mut budget.0).ok()
                    });
                }
            }
        }
        Ok(())
    }

    /// Fills in what a transaction and its receipt say in JSON.
    pub(crate) fn fill_transaction(
        &self,
        node: &dyn Node,
        view: &mut TransactionView,
    ) -> Result<(), NodeError> {
        for action in &mut view.body.actions {
            if let ActionView::CallApp { app, method, arguments, arguments_json, .. } = action {
                let schema = self.get(node, app)?;
                *arguments_json =
                    schema.and_then(|schema| schema.call(method).ok()?.decode_arguments(&arguments.0).ok());
            }
        }
        match &mut view.receipt {
            Some(receipt) => self.fill_receipt(node, &view.body.actions, receipt),
            None => Ok(()),
        }
    }
}

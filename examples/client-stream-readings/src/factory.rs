//! The application as this program uses it: typed arguments and results over the node's API.

use anyhow::{Context, Result, bail};
use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{Amount, AppId, DeviceId, TimestampMs};
use purlin_api::{HexBytes, OutcomeView, QueryRequest, ReceiptView};
use purlin_client::{Client, TransactionOptions};
use purlin_primitives::{Action, SecretKey};
use purlin_smart_factory::{
    Alert, AlertCleared, AlertKey, AlertPage, AlertRaised, AlertState, Reading, ReportSummary,
};

/// A factory on a node, and the key to sign reports with.
pub(crate) struct Factory {
    pub(crate) client: Client,
    pub(crate) app: AppId,
    pub(crate) key: SecretKey,
}

/// What a report did.
pub(crate) struct Report {
    pub(crate) summary: ReportSummary,
    pub(crate) happenings: Vec<Happening>,
    pub(crate) gas_used: u64,
}

/// An event that a report caused.
pub(crate) enum Happening {
    Raised(AlertRaised),
    Cleared(AlertCleared),
}

impl Factory {
    /// Returns the last reading that the factory knows.
    pub(crate) async fn last_reading(&self, machine: &DeviceId) -> Result<Option<Reading>> {
        self.query("last_reading", &(machine,)).await
    }

    /// Sends readings and waits for the block. Sending the same again changes nothing.
    pub(crate) async fn report(&self, machine: &DeviceId, readings: &[Reading]) -> Result<Report> {
        let arguments = borsh::to_vec(&(machine, readings))?;
        let call = Action::CallApp {
            app: self.app.clone(),
            method: "report".into(),
            arguments,
            deposit: Amount::ZERO,
        };
        let transaction = self.client.sign(&self.key, vec![call], &TransactionOptions::default()).await?;
        let committed = self.client.submit_and_wait(&transaction).await?;
        let receipt = committed.receipt.context("the transaction is in no block yet")?;
        match &receipt.outcome {
            OutcomeView::Succeeded { outputs } => {
                let output = outputs.first().context("the receipt has no result")?;
                let summary = borsh::from_slice(&output.borsh.0)
                    .context("the result of `report` is of another type")?;
                Ok(Report {
                    summary,
                    happenings: happenings(&receipt, &self.app)?,
                    gas_used: receipt.gas_used.get(),
                })
            }
            OutcomeView::Failed { failure, .. } => bail!("{}: {}", failure.code, failure.message),
        }
    }

    /// Returns all alerts of a machine that the factory keeps.
    pub(crate) async fn alerts(&self, machine: &DeviceId) -> Result<Vec<Alert>> {
        let mut alerts = Vec::new();
        let mut after: Option<AlertKey> = None;
        loop {
            let (state, from, to) = (None::<AlertState>, None::<TimestampMs>, None::<TimestampMs>);
            let page: AlertPage =
                self.query("alerts", &(Some(machine), state, from, to, after, 100_u32)).await?;
            alerts.extend(page.alerts);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(alerts),
            }
        }
    }

    async fn query<T: BorshDeserialize>(&self, method: &str, arguments: &impl BorshSerialize) -> Result<T> {
        let arguments_borsh = Some(HexBytes(borsh::to_vec(arguments)?));
        let request = QueryRequest { arguments_borsh, ..QueryRequest::default() };
        let result = self.client.query(&self.app, method, &request).await?;
        if let Some(failure) = result.failure {
            bail!("{}: {}", failure.code, failure.message);
        }
        let bytes = result.borsh.with_context(|| format!("`{method}` gave no result"))?;
        borsh::from_slice(&bytes.0).with_context(|| format!("the result of `{method}` is of another type"))
    }
}

fn happenings(receipt: &ReceiptView, app: &AppId) -> Result<Vec<Happening>> {
    let events = receipt.events.iter().filter(|event| event.app == *app);
    events
        .filter_map(|event| {
            let bytes = &event.payload.0;
            match event.topic.as_str() {
                "alert_raised" => Some(borsh::from_slice(bytes).map(Happening::Raised)),
                "alert_cleared" => Some(borsh::from_slice(bytes).map(Happening::Cleared)),
                _ => None,
            }
        })
        .map(|decoded| decoded.context("an event is of another type than this program was built for"))
        .collect()
}

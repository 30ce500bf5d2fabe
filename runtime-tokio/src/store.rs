//! The database: performs the core's [`StoreCommand`]s in Postgres or SQLite. The SQL comes from the core; here are
//! connections, transactions and the wording of errors.

mod postgres;
mod sqlite;

use callwarden_core::config::Database;
use callwarden_core::store::sql::{Column, Dialect, Outcome, Parameter, answer, statements};
use callwarden_core::store::{StoreAnswer, StoreCommand, StoreError};
use core::error::Error;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use postgres::Postgres;
use sqlite::Sqlite;
use sqlx::migrate::MigrateError;
use sqlx::{ColumnIndex, Decode, Row, Type};
use tokio::time::timeout;

/// A process's way to its database. One is shared by every task.
#[derive(Debug)]
pub struct Store {
    backend: Backend,
    /// Whether the schema is known to be there.
    open: AtomicBool,
}

#[derive(Debug)]
enum Backend {
    Postgres(Box<Postgres>),
    Sqlite(Sqlite),
}

impl Store {
    /// The way to `database`. Nothing is connected or created yet: [`StoreCommand::Open`] does that.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the address of a Postgres server cannot be read.
    pub fn new(database: &Database) -> Result<Self, StoreError> {
        let backend = match database {
            Database::Postgres(url) => Backend::Postgres(Box::new(Postgres::new(url)?)),
            Database::Sqlite(path) | Database::Embedded(path) => Backend::Sqlite(Sqlite::new(path)),
        };
        Ok(Self { backend, open: AtomicBool::new(false) })
    }

    /// Performs `command` in one transaction.
    ///
    /// An answer that does not come within `limit` is [`StoreError::Unavailable`], though the database may still
    /// carry the command out: facts may be sent again, and a claim may be claimed again by the same process.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] as above, while the database cannot be reached or is too busy, and before the first
    /// [`StoreCommand::Open`] that succeeded; [`StoreError::Refused`] when it will never take the data. Neither holds
    /// a password.
    pub async fn run(&self, command: StoreCommand, limit: Duration) -> Result<StoreAnswer, StoreError> {
        let late = |_| {
            let place = self.backend.place();
            Err(StoreError::Unavailable(format!("{place}: no answer within {} ms", limit.as_millis())))
        };
        timeout(limit, self.perform(&command, limit)).await.unwrap_or_else(late)
    }

    async fn perform(&self, command: &StoreCommand, limit: Duration) -> Result<StoreAnswer, StoreError> {
        if matches!(command, StoreCommand::Open) {
            self.backend.open(limit).await?;
            self.open.store(true, Ordering::Release);
        } else if !self.open.load(Ordering::Acquire) {
            let place = self.backend.place();
            return Err(StoreError::Unavailable(format!("{place}: not connected yet")));
        }
        let outcome = self.backend.execute(command).await?;
        Ok(answer(command, &outcome))
    }
}

impl Backend {
    /// Which database, for an error's text: no secret.
    fn place(&self) -> &str {
        match self {
            Self::Postgres(postgres) => postgres.place(),
            Self::Sqlite(sqlite) => sqlite.place(),
        }
    }

    async fn open(&self, limit: Duration) -> Result<(), StoreError> {
        match self {
            Self::Postgres(postgres) => postgres.open(limit).await,
            Self::Sqlite(sqlite) => sqlite.open().await,
        }
    }

    async fn execute(&self, command: &StoreCommand) -> Result<Outcome, StoreError> {
        match self {
            Self::Postgres(postgres) => postgres
                .execute(statements(command, Dialect::Postgres))
                .await
                .map_err(|error| store_error(Dialect::Postgres, postgres.place(), &error)),
            Self::Sqlite(sqlite) => sqlite
                .execute(statements(command, Dialect::Sqlite))
                .await
                .map_err(|error| store_error(Dialect::Sqlite, sqlite.place(), &error)),
        }
    }
}

/// The values of a row that a statement returned.
fn values<'r, R: Row>(row: &'r R, columns: &[Column]) -> Result<Vec<Parameter>, sqlx::Error>
where
    usize: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
{
    let value = |(place, column): (usize, &Column)| match column {
        Column::Text => row.try_get(place).map(Parameter::Text),
        Column::Integer => row.try_get(place).map(Parameter::Integer),
    };
    columns.iter().enumerate().map(value).collect()
}

/// What an error of the driver means for the command.
fn store_error(dialect: Dialect, place: &str, error: &sqlx::Error) -> StoreError {
    let (refused, cause) = match error.as_database_error() {
        // The driver's own text would add the line of the server's source.
        Some(error) => {
            let code = error.code().unwrap_or_default();
            (dialect.refuses(&code), format!("{} (code {code})", error.message()))
        }
        None => (matches!(error, sqlx::Error::Encode(_)), causes(error)),
    };
    let text = format!("{place}: {cause}");
    if refused { StoreError::Refused(text) } else { StoreError::Unavailable(text) }
}

/// What an error of the migrations means: that of the statement that failed, or that this program and the schema do
/// not belong together, which no second try mends.
fn migration_error(dialect: Dialect, place: &str, error: &MigrateError) -> StoreError {
    match error.source().and_then(|source| source.downcast_ref::<sqlx::Error>()) {
        Some(error) => store_error(dialect, place, error),
        None => StoreError::Refused(format!(
            "{place}: {}; run the newest version of callwarden that used this database",
            causes(error)
        )),
    }
}

/// The text of `error` and of everything that caused it. Causes that a text already quotes are not repeated.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

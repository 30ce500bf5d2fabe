//! The SQLite backend.

use super::{causes, migration_error, values};
use crate::spawner::unblock;
use callwarden_core::limits::{LOCK_TIME, STORE_TIME};
use callwarden_core::store::StoreError;
use callwarden_core::store::sql::{Dialect, Outcome, Parameter, Statement};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::path::{Path, PathBuf};

/// One connection to a file. A second one would only wait for the first: SQLite has one writer at a time.
#[derive(Debug)]
pub(super) struct Sqlite {
    pool: SqlitePool,
    path: PathBuf,
    place: String,
}

impl Sqlite {
    pub(super) fn new(path: &Path) -> Self {
        // A commit is on the disk, not only in the kernel, before it is answered (D3).
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(LOCK_TIME)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(STORE_TIME)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        Self { pool, path: path.to_owned(), place: format!("the file {}", path.display()) }
    }

    /// The file's name.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Creates the file and the directories above it where they are missing, and brings the schema to the newest
    /// version.
    pub(super) async fn open(&self) -> Result<(), StoreError> {
        if let Some(directory) = self.path.parent().map(Path::to_owned) {
            let created = unblock(move || std::fs::create_dir_all(directory)).await;
            created.map_err(|error| {
                StoreError::Unavailable(format!("{}: its directory cannot be created: {}", self.place, causes(&error)))
            })?;
        }
        sqlx::migrate!("../core/migrations/sqlite")
            .run(&self.pool)
            .await
            .map_err(|error| migration_error(Dialect::Sqlite, &self.place, &error))
    }

    /// Runs the statements in one transaction, and says what they came to.
    pub(super) async fn execute(&self, statements: Vec<Statement>) -> Result<Outcome, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let mut outcome = Outcome::default();
        let mut transaction = connection.begin().await?;
        for statement in statements {
            run(statement, &mut transaction, &mut outcome).await?;
        }
        transaction.commit().await?;
        Ok(outcome)
    }
}

/// Runs one statement and adds what it came to.
async fn run(
    statement: Statement,
    connection: &mut SqliteConnection,
    outcome: &mut Outcome,
) -> Result<(), sqlx::Error> {
    let columns = statement.columns;
    if columns.is_empty() {
        outcome.rows_affected += query(statement).execute(connection).await?.rows_affected();
        return Ok(());
    }
    for row in query(statement).fetch_all(connection).await? {
        outcome.rows.push(values(&row, columns)?);
    }
    Ok(())
}

fn query(statement: Statement) -> Query<'static, sqlx::Sqlite, SqliteArguments> {
    statement.parameters.into_iter().fold(sqlx::query(statement.sql), |query, parameter| match parameter {
        Parameter::Text(value) => query.bind(value),
        Parameter::Integer(value) => query.bind(value),
    })
}

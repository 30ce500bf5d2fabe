//! The Postgres backend.

use super::{migration_error, store_error, values};
use callwarden_core::limits::{CONNECTION_WAIT, POSTGRES_CONNECTIONS_MAX, STORE_TIME};
use callwarden_core::secret::Secret;
use callwarden_core::store::StoreError;
use callwarden_core::store::sql::{Dialect, Outcome, Parameter, Statement, postgres_settings};
use core::time::Duration;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::future::pending;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// A pool of connections, and how to make one by hand.
#[derive(Debug)]
pub(super) struct Postgres {
    options: PgConnectOptions,
    pool: PgPool,
    place: String,
    /// Held by the one command that asks why there is no connection.
    asking: Mutex<()>,
}

impl Postgres {
    pub(super) fn new(url: &Secret) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url
            .expose()
            .parse()
            .map_err(|error: sqlx::Error| StoreError::Refused(format!("DATABASE_URL cannot be read: {error}")))?;
        let options = options
            .application_name("callwarden")
            .options(postgres_settings())
            .options([("client_min_messages", "warning")])
            .disable_statement_logging();
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
            .acquire_timeout(STORE_TIME)
            .connect_lazy_with(options.clone());
        Ok(Self { options, pool, place, asking: Mutex::new(()) })
    }

    /// `host:port/database`.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Connects past the pool, which would hide why a connection fails, and brings the schema to the newest version.
    /// Migrations take an advisory lock, so two processes may do this at once; they run as long as `timeout`, beyond
    /// which nobody waits for them.
    pub(super) async fn open(&self, timeout: Duration) -> Result<(), StoreError> {
        self.try_connecting().await.map_err(|error| store_error(Dialect::Postgres, &self.place, &error))?;
        let wait = format!("{}ms", timeout.as_millis());
        let options = self.options.clone().options([("statement_timeout", &wait), ("lock_timeout", &wait)]);
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(timeout).connect_lazy_with(options);
        let migrated = sqlx::migrate!("../core/migrations/postgres").run(&pool).await;
        pool.close().await;
        migrated.map_err(|error| migration_error(Dialect::Postgres, &self.place, &error))
    }

    async fn try_connecting(&self) -> Result<(), sqlx::Error> {
        PgConnection::connect_with(&self.options).await?.close().await
    }

    /// Runs the statements in one transaction, and says what they came to.
    pub(super) async fn execute(&self, statements: Vec<Statement>) -> Result<Outcome, sqlx::Error> {
        let mut connection = self.connection().await?;
        let mut outcome = Outcome::default();
        // A single statement is its own transaction, which saves two round trips.
        let statements = match <[Statement; 1]>::try_from(statements) {
            Ok([statement]) => {
                run(statement, &mut connection, &mut outcome).await?;
                return Ok(outcome);
            }
            Err(statements) => statements,
        };
        let mut transaction = connection.begin().await?;
        for statement in statements {
            run(statement, &mut transaction, &mut outcome).await?;
        }
        transaction.commit().await?;
        Ok(outcome)
    }

    async fn connection(&self) -> Result<PoolConnection<sqlx::Postgres>, sqlx::Error> {
        tokio::select! {
            biased;
            connection = self.pool.acquire() => connection,
            cause = self.why_none() => cause,
        }
    }

    /// Ends when the database cannot be reached, with the reason: the pool goes on trying and would not tell. Never
    /// ends when it can, for then the connections are only busy.
    async fn why_none(&self) -> Result<PoolConnection<sqlx::Postgres>, sqlx::Error> {
        sleep(CONNECTION_WAIT).await;
        let asking = self.asking.lock().await;
        self.try_connecting().await?;
        drop(asking);
        pending().await
    }
}

/// Runs one statement and adds what it came to.
async fn run(statement: Statement, connection: &mut PgConnection, outcome: &mut Outcome) -> Result<(), sqlx::Error> {
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

fn query(statement: Statement) -> Query<'static, sqlx::Postgres, PgArguments> {
    statement.parameters.into_iter().fold(sqlx::query(statement.sql), |query, parameter| match parameter {
        Parameter::Text(value) => query.bind(value),
        Parameter::Integer(value) => query.bind(value),
    })
}

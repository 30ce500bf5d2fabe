//! Databases of one test each, and their rows in one form, whichever the database.

use crate::postgres::Cluster;
use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::STORE_TIME;
use callwarden_core::secret::Secret;
use callwarden_core::store::{StoreAnswer, StoreCommand, StoreError};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _, SqliteConnection};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a command is sent before a test gives up: a statement of 0.9 s each time.
const ATTEMPTS_MAX: u32 = 20;

/// A row: each column's value as text, times in milliseconds since 1970; a NULL is left out.
pub type Row = BTreeMap<String, String>;

/// An empty database; a file is removed when this is dropped, a database of Postgres goes with its server.
///
/// Its methods are for tests: they panic with the database's error.
#[derive(Debug)]
pub struct TestDatabase {
    database: Database,
    directory: Option<PathBuf>,
}

impl TestDatabase {
    /// A new database of [`Cluster::shared`].
    ///
    /// # Panics
    /// As every method here, when the database cannot do it.
    #[must_use]
    pub fn postgres() -> Self {
        Self::of(Cluster::shared())
    }

    /// A new database of a server that the test may stop.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let url = cluster.create_database(&unique("test")).expect("a new database");
        Self { database: Database::Postgres(Secret::new(url)), directory: None }
    }

    /// A database that a test created in a server of its own.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self { database: Database::Postgres(Secret::new(url)), directory: None }
    }

    /// A new file.
    #[must_use]
    pub fn sqlite() -> Self {
        let directory = std::env::temp_dir().join(unique("callwarden-sqlite"));
        Self { database: Database::Sqlite(directory.join("callwarden.db")), directory: Some(directory) }
    }

    /// One of each kind.
    #[must_use]
    pub fn both() -> [Self; 2] {
        [Self::postgres(), Self::sqlite()]
    }

    /// As the configuration names it.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// As `DATABASE_URL` names it.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.database {
            Database::Postgres(url) => url.expose().to_owned(),
            Database::Sqlite(path) | Database::Embedded(path) => format!("sqlite:{}", path.display()),
        }
    }

    /// A store of this database, opened: the tables are there.
    pub async fn store(&self) -> Store {
        let store = Store::new(&self.database).expect("an address");
        assert_eq!(answered(&store, StoreCommand::Open).await, StoreAnswer::Done);
        store
    }

    /// Runs a statement of the test's own; the number of rows it changed.
    pub async fn execute(&self, sql: &str) -> u64 {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self.connect().await {
            Connected::Postgres(mut connection) => {
                query.execute(&mut connection).await.expect("a valid statement").rows_affected()
            }
            Connected::Sqlite(mut connection) => {
                query.execute(&mut connection).await.expect("a valid statement").rows_affected()
            }
        }
    }

    /// The names of a table's columns, in their order.
    pub async fn columns(&self, table: &str) -> Vec<String> {
        let columns = match self.connect().await {
            Connected::Postgres(mut connection) => postgres_columns(&mut connection, table).await,
            Connected::Sqlite(mut connection) => sqlite_columns(&mut connection, table).await,
        };
        columns.into_iter().map(|(name, _)| name).collect()
    }

    /// All rows of a table, sorted.
    pub async fn rows(&self, table: &str) -> Vec<Row> {
        let mut rows: Vec<Row> = match self.connect().await {
            Connected::Postgres(mut connection) => {
                let columns = postgres_columns(&mut connection, table).await;
                let rows = sqlx::query(select(table, &columns)).fetch_all(&mut connection).await.expect("the rows");
                rows.iter().map(|row| named(&columns, |index| row.get(index))).collect()
            }
            Connected::Sqlite(mut connection) => {
                let columns = sqlite_columns(&mut connection, table).await;
                let rows = sqlx::query(select(table, &columns)).fetch_all(&mut connection).await.expect("the rows");
                rows.iter().map(|row| named(&columns, |index| row.get(index))).collect()
            }
        };
        rows.sort_unstable();
        rows
    }

    async fn connect(&self) -> Connected {
        match &self.database {
            Database::Postgres(url) => {
                Connected::Postgres(PgConnection::connect(url.expose()).await.expect("a connection"))
            }
            Database::Sqlite(path) | Database::Embedded(path) => {
                Connected::Sqlite(SqliteConnection::connect(&path.to_string_lossy()).await.expect("a connection"))
            }
        }
    }
}

enum Connected {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// The answer to a command that may be sent again, as the core does it: on a loaded machine the database may now and
/// then be slower than its statement timeout.
///
/// # Panics
/// When the command is refused, or the database stays unavailable.
pub async fn answered(store: &Store, command: StoreCommand) -> StoreAnswer {
    for _ in 1..ATTEMPTS_MAX {
        match store.run(command.clone(), STORE_TIME).await {
            Err(StoreError::Unavailable(_)) => {}
            answer => return answer.expect("the data is good"),
        }
    }
    store.run(command, STORE_TIME).await.expect("the database is there")
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take()
            && let Err(error) = std::fs::remove_dir_all(&directory)
        {
            eprintln!("{} is left: {error}", directory.display());
        }
    }
}

/// The columns of a table and how to select each.
async fn postgres_columns(connection: &mut PgConnection, table: &str) -> Vec<(String, String)> {
    let sql = "SELECT column_name::text, CASE data_type
            WHEN 'timestamp with time zone' THEN format('trim_scale(extract(epoch FROM %I) * 1000)::text', column_name)
            ELSE format('%I::text', column_name) END
        FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position";
    sqlx::query_as(sql).bind(table).fetch_all(connection).await.expect("the columns")
}

/// The columns of a table and how to select each.
async fn sqlite_columns(connection: &mut SqliteConnection, table: &str) -> Vec<(String, String)> {
    let sql = "SELECT name, format('CAST(\"%w\" AS text)', name) FROM pragma_table_info($1) ORDER BY cid";
    sqlx::query_as(sql).bind(table).fetch_all(connection).await.expect("the columns")
}

fn select(table: &str, columns: &[(String, String)]) -> AssertSqlSafe<String> {
    let expressions: Vec<_> = columns.iter().map(|(_, expression)| expression.as_str()).collect();
    AssertSqlSafe(format!("SELECT {} FROM {table}", expressions.join(", ")))
}

fn named(columns: &[(String, String)], value: impl Fn(usize) -> Option<String>) -> Row {
    let values = columns.iter().enumerate().map(|(index, (name, _))| (name.clone(), value(index)));
    values.filter_map(|(name, value)| Some((name, value?))).collect()
}

fn unique(name: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

//! The shop in a database, and what its documents must be: the oracle every end-to-end test ends in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use docmill::embedded::{SHOP_DOCUMENTS, SHOP_SCHEMA, shop_seed};
use serde_json::Value;

use super::difference::{Differences, differences};
use super::opensearch::OpenSearch;
use super::postgres::{Database, connect};

/// Between two looks of [`await_documents`], growing from the first to the last.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// Every document of both indexes, by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShopDocuments {
    pub users: BTreeMap<String, Value>,
    pub products: BTreeMap<String, Value>,
}

impl ShopDocuments {
    /// What SQL says they must be, both indexes from one snapshot.
    pub async fn from_sql(url: &str) -> Self {
        let mut client = connect(url).await;
        let transaction = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
        let transaction = transaction.read_only(true).start().await.expect("a transaction");
        let mut indexes = Vec::new();
        for statement in oracle_statements() {
            let query = format!("select id, document::text from ({statement}) oracle");
            let rows = transaction.query(&query, &[]).await.expect("documents.sql is valid");
            let parsed = rows.iter().map(|row| (row.get(0), serde_json::from_str(row.get(1)).expect("jsonb is JSON")));
            indexes.push(parsed.collect::<BTreeMap<String, Value>>());
        }
        let [users, products] = <[_; 2]>::try_from(indexes).expect("documents.sql holds two statements");
        Self { users, products }
    }

    /// What the indexes `users` and `products` under the test's prefix hold; one that does not exist holds nothing.
    pub async fn from_opensearch(search: &OpenSearch) -> Self {
        let read = async |name| search.documents(name).await.unwrap_or_default();
        Self { users: read("users").await, products: read("products").await }
    }

    /// What of `found` is not as here.
    pub fn differences(&self, found: &Self) -> Differences {
        let users = differences("users", &self.users, &found.users);
        users.and(differences("products", &self.products, &found.products))
    }
}

/// Makes the tables, empty.
pub async fn create_schema(database: &Database) {
    database.connect().await.batch_execute(SHOP_SCHEMA).await.expect("schema.sql is valid");
}

/// Makes the tables and fills them: five orders a user, two lines an order, three reviews a product.
pub async fn create(database: &Database, users: u32, products: u32) {
    create_schema(database).await;
    let client = database.connect().await;
    client.batch_execute(&shop_seed(users, products)).await.expect("seed.sql is valid");
}

/// Looks until what `find` finds is what SQL says, the database read anew for every look; how long it took, or what still
/// differs after `timeout`. A first look is always taken.
pub async fn await_documents(
    url: &str,
    timeout: Duration,
    mut find: impl AsyncFnMut() -> ShopDocuments,
) -> Result<Duration, Differences> {
    let begin = Instant::now();
    for look in 0.. {
        let expected = ShopDocuments::from_sql(url).await;
        let differences = expected.differences(&find().await);
        match differences.into_result() {
            Ok(()) => return Ok(begin.elapsed()),
            Err(differences) if begin.elapsed() >= timeout => return Err(differences),
            Err(_) => tokio::time::sleep(PAUSES[PAUSES.len().min(look + 1) - 1]).await,
        }
    }
    unreachable!("the loop has no end of its own")
}

/// [`await_documents`] for both indexes in OpenSearch; panics with the differences.
pub async fn await_equal(database: &Database, search: &OpenSearch, timeout: Duration) -> Duration {
    let found = await_documents(&database.url, timeout, async || ShopDocuments::from_opensearch(search).await).await;
    found.unwrap_or_else(|differences| panic!("after {timeout:?} the index is not what SQL says: {differences}"))
}

/// The statements of `documents.sql`, `users` first.
pub fn oracle_statements() -> Vec<String> {
    // The comments hold semicolons, the statements none.
    let code: Vec<&str> = SHOP_DOCUMENTS.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n");
    code.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

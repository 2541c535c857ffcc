//! Two tenants of one database: neither's builder reads the other's rows, by a query or through the publication.

use std::time::Duration;

use docmill::edges::{CaptureEvent, ChangeCapture, ChangeStream, OpenRequest};
use docmill::model::ChangeKind;

use super::*;

/// Schemas `a` and `b` with the same table in each, and a reader for each.
struct Tenants(Walled);

impl Tenants {
    async fn fresh() -> Self {
        let walled = Walled::fresh().await;
        for schema in ["a", "b"] {
            let role = format!("{}_{schema}", walled.database.name);
            walled
                .sql(&format!(
                    "create schema {schema}; create table {schema}.items (id int primary key, secret text); \
                     insert into {schema}.items values (1, 'of {schema}'); create role {role} login password 'x'; \
                     grant usage on schema {schema} to {role}; grant select on {schema}.items to {role}"
                ))
                .await;
        }
        Self(walled)
    }

    fn options(&self, tenant: &str) -> PostgresOptions {
        PostgresOptions {
            reader_url: Some(as_role(&self.0.database, &self.role(tenant))),
            slot: format!("slot_{}_{tenant}", self.0.database.name),
            schema: tenant.to_owned(),
            privileges_every: Duration::from_millis(100),
            ..options(&self.0.database)
        }
    }

    fn role(&self, tenant: &str) -> String {
        format!("{}_{tenant}", self.0.database.name)
    }

    async fn open(
        &self,
        tenant: &str,
        tables: &[CapturedTable],
    ) -> Result<(Arc<Postgres>, Box<dyn ChangeStream>), Failure> {
        let postgres = Postgres::new(self.options(tenant)).expect("options");
        let stream = postgres.open(&OpenRequest::of(tables)).await?;
        Ok((postgres, stream))
    }

    async fn published(&self) -> String {
        let sql = "select coalesce(string_agg(schemaname || '.' || tablename, ' ' order by 1), '') from pg_publication_tables";
        self.0.ask(&sql.replace("order by 1", "order by schemaname, tablename")).await
    }
}

fn items(schema: &str) -> CapturedTable {
    captured(schema, "items", Columns::Any)
}

async fn next_row(stream: &mut dyn ChangeStream) -> String {
    loop {
        let event =
            tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("an event").expect("no failure");
        if let CaptureEvent::Change(change) = event
            && let ChangeKind::Insert { new } = &change.kind
        {
            return format!("{} {:?}", change.relation.table, new.0);
        }
    }
}

#[tokio::test]
async fn another_tenants_table_is_refused_before_it_is_published() {
    let tenants = Tenants::fresh().await;
    let failure = tenants.open("a", &[items("a"), items("b")]).await.err().expect("refused");
    assert_eq!(failure.class, FailureClass::Fatal);
    let role = tenants.role("a");
    says(&failure.chain(), &format!("table b.items: role {role}, which reads rows, may not select id, secret"));
    assert_eq!(tenants.published().await, "");
    let (_b, _stream) = tenants.open("b", &[items("b")]).await.expect("its own");
    let failure = tenants.open("a", &[items("a"), items("b")]).await.err().expect("refused");
    // It is published for b by now, and its rows would come to a.
    says(&failure.chain(), "table b.items: role");
    assert_eq!(tenants.published().await, "b.items");
    let findings = docmill::postgres::check(&tenants.options("a"), &[items("b")], None).await;
    assert!(
        findings.iter().any(|finding| finding.subject == "table b.items" && finding.found.contains("may not select")),
        "{findings:?}"
    );
    assert_eq!(tenants.0.ask("select count(*)::text from pg_replication_slots where slot_name like '%_a' and database = current_database()").await, "0");
}

#[tokio::test]
async fn another_tenants_table_cannot_be_named_in_a_query() {
    let tenants = Tenants::fresh().await;
    let refusal = async |text: &str| {
        prepare(tenants.options("a"), &[("q", text)]).await.err().unwrap_or_else(|| panic!("accepted: {text}")).chain()
    };
    for text in [
        "select secret from b.items",
        "select i.id from items i where exists (select from b.items j where j.id = i.id)",
        "select (select max(secret) from b.items) as s",
    ] {
        says(&refusal(text).await, "query q: permission denied for schema b (SQLSTATE 42501)");
    }
    // With the schema open the table is still closed, also where nothing of it is shown.
    tenants.0.sql(&format!("grant usage on schema b to {}", tenants.role("a"))).await;
    for text in ["select secret from b.items", "select count(*) from b.items"] {
        says(&refusal(text).await, "query q: permission denied for table items (SQLSTATE 42501)");
    }
    // What can never be reached is not asked for, and never read.
    let text = "select id from items where false and exists (select from b.items)";
    let queries = prepare(tenants.options("a"), &[("q", text)]).await.expect("nothing of it is read");
    let (rows, _moment) = queries.snapshot(&[query("q", &[])]).await.expect("no rows");
    assert_eq!(rows[0].count(), 0);
    // A view of the neighbour's that it does not give away.
    tenants.0.sql("create view b.shown as select id from b.items").await;
    says(&refusal("select id from b.shown").await, "permission denied for view shown");
}

#[tokio::test]
async fn a_column_that_is_not_granted_is_named_and_not_read() {
    let tenants = Tenants::fresh().await;
    let role = tenants.role("a");
    tenants.0.sql(&format!("revoke select on a.items from {role}; grant select (id) on a.items to {role}")).await;
    let failure = tenants.open("a", &[items("a")]).await.err().expect("refused");
    says(&failure.chain(), "may not select secret");
    for text in [
        "select secret from items",
        "select * from items",
        "select i from items i",
        "select id from items where secret like 'o%'",
    ] {
        let failure =
            prepare(tenants.options("a"), &[("q", text)]).await.err().unwrap_or_else(|| panic!("accepted: {text}"));
        says(&failure.chain(), "permission denied for table items");
    }
    prepare(tenants.options("a"), &[("q", "select id from items")]).await.expect("what is granted");
    tenants.open("a", &[captured("a", "items", Columns::Listed(vec![]))]).await.expect("what is granted");
}

#[tokio::test]
async fn a_privilege_that_is_taken_away_ends_that_tenants_stream_alone() {
    let tenants = Tenants::fresh().await;
    let (_a, mut a) = tenants.open("a", &[items("a")]).await.expect("a stream");
    let (_b, mut b) = tenants.open("b", &[items("b")]).await.expect("a stream");
    tenants.0.sql("insert into a.items values (2, 'x'); insert into b.items values (2, 'y')").await;
    says(&next_row(&mut *a).await, "a.items");
    says(&next_row(&mut *b).await, "b.items");
    tenants.0.sql(&format!("revoke select on a.items from {}", tenants.role("a"))).await;
    let follow = async {
        loop {
            if let Err(failure) = a.next().await {
                return failure;
            }
        }
    };
    let failure = tokio::time::timeout(Duration::from_secs(20), follow).await.expect("it ends");
    assert_eq!(failure.class, FailureClass::Fatal);
    says(&failure.chain(), "may not select id, secret");
    tenants.0.sql("insert into a.items values (3, 'x'); insert into b.items values (3, 'y')").await;
    let row = next_row(&mut *b).await;
    assert!(row.contains("b.items") && !row.contains("'x'"), "{row}");
}

#[tokio::test]
async fn one_component_serves_two_tenants_each_with_its_own_rows() {
    let tenants = Tenants::fresh().await;
    for tenant in ["a", "b"] {
        let text = "select id, secret from items where id = any($1)";
        let queries = prepare(tenants.options(tenant), &[("q", text)]).await.expect("its own");
        let (rows, _moment) = queries.snapshot(&[query("q", &["[1]"])]).await.expect("rows");
        let docmill::model::Cells::Texts(texts) = &rows[0].columns()[1].cells else { panic!("texts") };
        assert_eq!(texts.get(0), Some(format!("of {tenant}").as_bytes()));
    }
}

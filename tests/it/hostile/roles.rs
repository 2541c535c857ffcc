//! The role that reads: with a reader of its own, one that could step around the database's walls is refused.

use docmill::edges::{ChangeCapture, OpenRequest, Severity};
use docmill::postgres::check;

use super::*;

#[tokio::test]
async fn a_reader_that_may_more_than_read_is_refused_everywhere_with_the_statement_to_run() {
    let walled = Walled::fresh().await;
    let (reader, name) = (&walled.reader, &walled.database.name);
    walled
        .sql(&format!(
            "create role {name}_capture login replication password 'x'; create role {name}_owner; create role {name}_mighty superuser; \
             grant select on secrets to {reader}"
        ))
        .await;
    let options = || PostgresOptions { url: as_role(&walled.database, &format!("{name}_capture")), ..walled.options() };
    let tables = [captured("public", "items", Columns::Any)];
    for (give, found, remedy, take) in [
        ("alter role R superuser", "is a superuser", "alter role \"R\" nosuperuser;", "alter role R nosuperuser"),
        ("alter role R bypassrls", "has BYPASSRLS", "alter role \"R\" nobypassrls;", "alter role R nobypassrls"),
        ("alter role R replication", "may replicate", "alter role \"R\" noreplication;", "alter role R noreplication"),
        (
            "grant N_capture to R",
            "is a member of role N_capture",
            "revoke \"N_capture\" from \"R\";",
            "revoke N_capture from R",
        ),
        (
            "grant N_mighty to R",
            "is a member of role N_mighty",
            "revoke \"N_mighty\" from \"R\";",
            "revoke N_mighty from R",
        ),
        (
            "grant pg_read_server_files to R",
            "is a member of role pg_read_server_files",
            "revoke \"pg_read_server_files\" from \"R\";",
            "revoke pg_read_server_files from R",
        ),
        (
            "alter table items owner to R",
            "owns table public.items",
            "alter table \"public\".\"items\" owner to",
            "alter table items owner to current_user",
        ),
        (
            "alter table items owner to N_owner; grant N_owner to R",
            "owns table public.items",
            "alter table \"public\".\"items\" owner to",
            "revoke N_owner from R; alter table items owner to current_user",
        ),
    ] {
        let named = |text: &str| {
            text.replace("N_", &format!("{name}_"))
                .replace("to R", &format!("to {reader}"))
                .replace("\"R\"", &format!("\"{reader}\""))
                .replace("role R", &format!("role {reader}"))
                .replace("from R", &format!("from {reader}"))
        };
        walled.sql(&named(give)).await;
        let postgres = Postgres::new(options()).expect("options");
        let opened =
            postgres.open(&OpenRequest::of(&tables)).await.err().unwrap_or_else(|| panic!("opened after {give}"));
        assert_eq!(opened.class, FailureClass::Fatal, "{}", opened.chain());
        says(&opened.chain(), &named(&format!("role {reader}, which reads rows, {found}")));
        says(&opened.chain(), &named(remedy));
        let findings = check(&options(), &tables, Some(&declaration(&[("q", "select 1 as n")]))).await;
        let finding = findings.iter().find(|finding| finding.subject == "reader role").expect("a finding");
        assert_eq!(finding.severity, Severity::Error, "{findings:?}");
        says(finding.remedy.as_deref().expect("a remedy"), &named(remedy));
        // What concerns a table is known with the tables; all else before a statement is planned.
        if !found.starts_with("owns") {
            let failure = prepare(options(), &[("q", "select 1 as n")]).await.expect_err(give);
            says(&failure.chain(), &named(found));
        }
        // Unless the operator takes it as it is.
        let trusted = PostgresOptions { reader_trusted: true, ..options() };
        prepare(trusted.clone(), &[("q", "select 1 as n")]).await.expect(give);
        let findings = check(&trusted, &tables, None).await;
        let finding = findings.iter().find(|finding| finding.subject == "reader role").expect("a finding");
        assert_eq!(finding.severity, Severity::Warning, "{findings:?}");
        walled.sql(&named(take)).await;
    }
    assert_eq!(walled.ask("select count(*)::text from pg_publication").await, "0", "nothing was made");
    let findings = check(&options(), &tables, None).await;
    let finding = findings.iter().find(|finding| finding.subject == "reader role").expect("a finding");
    assert_eq!(finding.severity, Severity::Ok, "{findings:?}");
}

#[tokio::test]
async fn a_reader_that_is_the_capture_role_must_be_trusted_by_word() {
    let walled = Walled::fresh().await;
    walled.sql(&format!("create role {0}_capture login replication password 'x'", walled.database.name)).await;
    let url = as_role(&walled.database, &format!("{}_capture", walled.database.name));
    let options = PostgresOptions { url: url.clone(), reader_url: Some(url), ..options(&walled.database) };
    let failure = prepare(options.clone(), &[("q", "select 1 as n")]).await.expect_err("refused");
    says(&failure.chain(), "is the capture role");
    prepare(PostgresOptions { reader_trusted: true, ..options.clone() }, &[("q", "select 1 as n")])
        .await
        .expect("trusted");
    // Without a reader it is the ordinary set-up of one tenant.
    prepare(PostgresOptions { reader_url: None, ..options }, &[("q", "select 1 as n")]).await.expect("one role");
}

#[tokio::test]
async fn a_reader_that_becomes_mighty_while_running_ends_the_stream() {
    let walled = Walled::fresh().await;
    let tables = [captured("public", "items", Columns::Any)];
    let options = PostgresOptions { privileges_every: std::time::Duration::from_millis(100), ..walled.options() };
    let postgres = Postgres::new(options).expect("options");
    let mut stream = postgres.open(&OpenRequest::of(&tables)).await.expect("a stream");
    walled.sql(&format!("alter role {} bypassrls", walled.reader)).await;
    let follow = async {
        loop {
            if let Err(failure) = stream.next().await {
                return failure;
            }
        }
    };
    let failure = tokio::time::timeout(std::time::Duration::from_secs(20), follow).await.expect("the stream ends");
    assert_eq!(failure.class, FailureClass::Fatal);
    says(&failure.chain(), "has BYPASSRLS");
}

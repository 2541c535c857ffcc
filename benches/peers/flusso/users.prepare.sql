-- What flusso needs of the shop's database, once, before it starts. It cannot relate a table whose primary key has two
-- columns, nor sum an expression: order_items gets a key of one column and a stored product. Nothing else changes.
alter table order_items
    drop constraint order_items_pkey,
    add constraint order_items_key unique (order_id, line),
    add column id bigint generated always as identity primary key,
    add column amount numeric generated always as (quantity * unit_price) stored;
-- A sum over two hops cannot be said in its schema; a function of the row reads like a column ("root"."total_spent").
create function total_spent(u users) returns numeric language sql stable parallel safe as $$
    select coalesce(sum(i.amount), 0)
    from orders o join order_items i on i.order_id = o.id
    where o.user_id = u.id and o.status <> 'cancelled'
$$;
analyze order_items;
-- flusso makes its slot only after the backfill, so that changes made meanwhile are lost: here it is there before.
create publication @SLOT@ for table users, orders, order_items;
select pg_create_logical_replication_slot('@SLOT@', 'pgoutput');

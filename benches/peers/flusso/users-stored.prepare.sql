-- For users-stored.schema.yml: every order carries its total and its number of lines, kept by a trigger on order_items.
-- flusso then reads no order_items at all: the price moves to whoever writes lines.
alter table orders add column total numeric not null default 0, add column lines int not null default 0;
update orders o set total = i.total, lines = i.lines
from (select order_id, sum(quantity * unit_price) as total, count(*) as lines from order_items group by order_id) i
where i.order_id = o.id;
create function keep_order_figures() returns trigger language plpgsql as $$
begin
    update orders o
    set (total, lines) = (select coalesce(sum(quantity * unit_price), 0), count(*) from order_items where order_id = o.id)
    where o.id in (old.order_id, new.order_id);
    return null;
end $$;
create trigger keep_order_figures after insert or update or delete on order_items
    for each row execute function keep_order_figures();
vacuum analyze orders;
create publication @SLOT@ for table users, orders;
select pg_create_logical_replication_slot('@SLOT@', 'pgoutput');

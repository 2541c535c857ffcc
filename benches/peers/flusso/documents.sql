-- What flusso's documents of the index `users` must be: documents.sql of the shop, but timestamps in chrono's RFC 3339 form
-- (no fraction, or 3 or 6 digits of it as needed; +00:00), and no total where an order has no lines.
select u.id::text as id,
       jsonb_build_object(
           'id', u.id,
           'name', u.name,
           'email', u.email,
           'country', u.country,
           'created_at', to_char(u.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || case
               when extract(microseconds from u.created_at)::int % 1000000 = 0 then ''
               when extract(microseconds from u.created_at)::int % 1000 = 0 then to_char(u.created_at, '.MS')
               else to_char(u.created_at, '.US') end || '+00:00',
           'orders', coalesce(o.orders, '[]'),
           'order_count', coalesce(o.order_count, 0),
           'total_spent', coalesce(o.total_spent, 0)
       ) as document
from users u
left join lateral (
    select jsonb_agg(
               jsonb_build_object(
                   'id', o.id,
                   'status', o.status,
                   'placed_at', to_char(o.placed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || case
                       when extract(microseconds from o.placed_at)::int % 1000000 = 0 then ''
                       when extract(microseconds from o.placed_at)::int % 1000 = 0 then to_char(o.placed_at, '.MS')
                       else to_char(o.placed_at, '.US') end || '+00:00',
                   'note', o.note,
                   'total', i.total,
                   'lines', i.lines
               ) order by o.id
           ) as orders,
           count(*) as order_count,
           sum(i.total) filter (where o.status <> 'cancelled') as total_spent
    from orders o
    cross join lateral (
        select sum(quantity * unit_price) as total, count(*) as lines
        from order_items where order_id = o.id
    ) i
    where o.user_id = u.id
) o on true;

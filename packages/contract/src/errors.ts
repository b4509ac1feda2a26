/**
 * Every error that Sovrabase itself can answer: code → [HTTP status, message, hint].
 * `{name}` in a text is replaced by the parameter of that name given to `fail()`.
 * docs/errors.md is generated from this table.
 */
export const ERRORS = {
  internal: [500, 'An unexpected error occurred.', 'Look for the request id in the server log.'],
  invalid_request: [400, 'The request is not valid: {reason}.', 'Compare it with /v1/openapi.json.'],
  not_found: [404, 'Not found.', 'The thing does not exist, or you may not know of it.'],
  forbidden: [403, 'You may not do {action} here.', 'Ask an owner or admin of the organisation for a role that may.'],
  unauthenticated: [401, 'No valid credentials were given.', 'Send a token as `Authorization: Bearer …`.'],

  // base/outbound.ts
  outbound_forbidden: [403, 'The address {host} may not be called: {reason}.', 'The operator opens ranges with network.allow.'],
  outbound_timeout: [504, 'No complete answer from {host} within {ms} ms ({phase}).', 'Check that the address answers, and how fast.'],
  outbound_too_large: [502, 'The answer of {host} is larger than {bytes} bytes.', 'Let it answer less, or in pages.'],
  outbound_failed: [502, 'The call to {host} failed: {reason}.', 'Check the address, its certificate and its firewall.'],
  outbound_range_invalid: [400, '"{range}" is not an address range.', 'Write it as 10.0.0.0/8 or fd00::/8.'],
  outbound_settings_invalid: [400, 'The setting {setting} cannot be used: {reason}.', 'Correct it in config.yaml.'],

  // apis/wire
  wire_port_busy: [
    409,
    'The port {port} of the PostgreSQL listener is in use by another program.',
    'Free it, or set {variable} to another one.',
  ],
  wire_port_none: [409, 'No free port for the PostgreSQL listener between {from} and {to}.', 'Set {variable} to a free one.'],
  wire_tls_invalid: [
    400,
    'The certificate of the PostgreSQL listener cannot be used: {reason}.',
    'Give it a PEM certificate chain and its key.',
  ],
  // The connection to a project's PostgreSQL
  database_error: [400, 'The database refused the statement (SQLSTATE {sqlstate}).', 'The details carry what PostgreSQL said.'],
  connection_lost: [503, 'The connection to the database was lost: {reason}.', 'Try again; a write may have been done or not.'],
  overloaded: [503, 'The database of this project is busy: {reason}.', 'Try again after the seconds in Retry-After.'],
  request_cancelled: [499, 'The request was cancelled by its client.', 'Nothing was written.'],
  result_too_large: [413, 'The result is larger than {limit} bytes.', 'Ask for fewer rows (limit, Range) or columns.'],
  statement_unsupported: [400, 'The statement cannot be run here: {reason}.', 'Use the PostgreSQL wire protocol of the project for it.'],
  role_not_allowed: [403, 'The role cannot be used by requests.', 'Use a role that is granted to authenticator.'],

  // the machine: keeper, embedded driver, program tree, lock of the data directory
  already_running: [
    409,
    'Already running: pid {pid}, {url}.',
    'One server at a time uses {dir}. Stop that one, or set `data.dir` (SOVRABASE_DATA_DIR) to another directory.',
  ],
  directory_closed: [
    500,
    'Uid {uid} cannot enter or read {path}: {dir} is closed to it.',
    'Run `chmod o+x {dir}`, or move it to a place that every user can enter (such as /srv or /var/lib), or start as the user that owns it.',
  ],
  directory_unusable: [
    500,
    'The directory {dir} cannot be used: {reason}.',
    'Give it to the user that starts Sovrabase (`chown -R`), or set `data.dir` (SOVRABASE_DATA_DIR) to another directory.',
  ],
  path_too_long: [
    500,
    'The socket path {path} is too long: {length} bytes of {limit}.',
    'Set XDG_RUNTIME_DIR or TMPDIR to a shorter directory.',
  ],
  program_missing: [500, 'The program {program} was not found.', '{remedy}'],
  uids_taken: [
    500,
    'All {count} ranges of uids that this machine has for data directories are taken.',
    'Each file in {dir} names a data directory. Remove the directories that are not used any more, then start again.',
  ],
  account_missing: [
    500,
    'Uid {uid} has no account on this machine, and one cannot be lent to it.',
    'Add one (`useradd --uid {uid} sovrabase`), or start as a user that has one.',
  ],
  only_root: [
    500,
    'Only uid 0 exists in this container, and PostgreSQL refuses to run as root.',
    'Start the container with more uids (subuid), or as a user other than root.',
  ],
  order_refused: [500, 'The keeper refuses this order: {reason}.', 'It carries out a closed list of orders on validated names only.'],
  keeper_gone: [
    503,
    'The process that keeps the project directories has ended.',
    'The server ends with it; look at its log and start again.',
  ],
  volume_missing: [404, 'The volume {volume} does not exist.', 'It was removed, or never made on this node.'],
  volume_exists: [409, 'The volume {volume} exists already.', 'Remove it first, or take another name.'],
  volume_running: [409, 'The volume {volume} is in use by a running process.', 'Put the service to sleep first.'],
  template_missing: [
    500,
    'The template {template} does not exist on this node.',
    'It is built at the first start; look at the log of that build.',
  ],
  start_failed: [503, 'The process of {volume} could not be started: {reason}.', 'Look at the log of the service.'],
  disk_full: [507, 'No space left on the device of {dir}.', 'Free space, or move the data directory to a larger disk.'],

  // runtime
  service_not_found: [404, 'The project has no service named {name}.', 'List the services of the project.'],
  project_unavailable: [
    503,
    'The project did not start; it is tried again in {seconds} s.',
    'Look at its status: it says why. Its neighbours are not touched.',
  ],
  service_elsewhere: [421, 'This project runs on the node {node}.', 'Send the request to that node.'],
  copy_source_gone: [410, 'The project that this one was to be copied from is gone.', 'Delete this project and create it anew.'],
  service_ended: [503, 'The service ended while it started: {detail}', 'Its log says why.'],
  node_busy: [503, 'All places for awake projects on this node are taken by busy ones.', 'Try again shortly, or raise limits.awake.'],
  node_closing: [503, 'The server is shutting down.', 'Try again in a moment.'],
  engine_unknown: [400, 'There is no engine named {name}.', 'The engines of this server: {known}.'],
  driver_unknown: [400, 'There is no driver named {name}.', 'The drivers of this server: {known}.'],
  region_unknown: [400, 'There is no node in the region {name}.', 'The regions of this installation: {known}.'],

  // Start, configuration, secrets (never answered over HTTP: they stop the start)
  node_too_old: [
    500,
    'Node {version} is too old: Sovrabase needs {needed} or newer.',
    'Run `npm ci` here and start with `make start` (it brings its own Node), or install Node 24.',
  ],
  config_invalid: [500, '{where}: {problem}', '{remedy}'],
  config_unreadable: [
    500,
    'The configuration {file} cannot be read: {reason}.',
    'Make it readable for the user that runs the server, or name another file in CONFIG_PATH.',
  ],
  root_key_missing: [
    500,
    'The root key {key_id} is missing: there is no {file}, but this installation has data.',
    'Put the copy of that file back, or give the key in SOVRABASE_ROOT_KEY or SOVRABASE_ROOT_KEY_FILE. It is not made again: stored secrets could not be opened.',
  ],
  root_key_wrong: [
    500,
    'The root key of {source} has the id {found}, but the stored secrets were sealed with {key_id}.',
    'Put the right key into {file}, or give it in SOVRABASE_ROOT_KEY or SOVRABASE_ROOT_KEY_FILE.',
  ],
  root_key_malformed: [
    500,
    '{source} is not a root key: 32 bytes as 64 hexadecimal digits or base64 are wanted.',
    'Put the copy of your root key back. A new one is made only where there is no data yet.',
  ],
  secret_file_unusable: [
    500,
    'The secret {file} cannot be used: {reason}.',
    'Its folder must exist and be writable for the user that runs the server, the file readable and not empty.',
  ],
  tls_unreadable: [
    500,
    'The TLS files {file} and {key} cannot be read.',
    'Make both readable for the user that runs the server, or remove api.tls and wire.tls from config.yaml.',
  ],
  secret_key_unknown: [
    500,
    'The stored secret {context} was sealed with the root key {key_id}, which is not here.',
    'Add that key as a former root key, or put it back.',
  ],
  secret_damaged: [
    500,
    'The stored secret {context} cannot be opened: it was changed or moved.',
    'Restore the metadata database from a backup, or make that secret anew.',
  ],

  // HTTP, before any API's own rules
  malformed_http: [400, 'The request is not valid HTTP.', 'Look at the client or the proxy in between.'],
  headers_too_large: [
    431,
    'The request line and headers are larger than {limit} bytes.',
    'Shorten the URL or the headers; limits.headers in config.yaml is the limit.',
  ],
  request_timeout: [408, 'The request did not arrive in time.', 'Send it again; limits.timeouts in config.yaml has the limits.'],
  body_too_large: [413, 'The body is larger than {limit} bytes.', 'Send less at once; limits.body in config.yaml has the limits.'],
  unsupported_media_type: [415, 'The content type {type} is not understood here.', 'Send `Content-Type: application/json`.'],
  invalid_json: [
    400,
    'The body is not valid JSON.',
    'Look at quotes and commas; the body must not be empty where a content type is given.',
  ],
  rate_limited: [429, 'Too many requests: {what}.', 'Wait for the seconds of Retry-After.'],

  // realms and gateway
  invalid_api_key: [401, 'Invalid API key.', 'Send a living key of this project as `apikey`; `sovra keys list` shows them.'],
  invalid_token: [401, 'The token is not valid: {reason}.', 'Sign in again, or send a token that this project has signed.'],
  token_expired: [401, 'The token has expired.', 'Refresh the session or sign in again.'],
  session_ended: [401, 'The session of this token was ended.', 'Sign in again.'],
  keyless_refused: [401, 'A key is needed: requests without one are off for this project.', 'Send a key of the project as `apikey`.'],
  invalid_credentials: [400, 'Invalid login credentials.', 'Check e-mail and password.'],
  sign_in_refused: [403, 'This account may not sign in.', 'Ask an administrator.'],
  password_too_weak: [422, 'The password is not strong enough: {reason}.', 'Take a longer one.'],
  email_taken: [422, 'A person with this e-mail address exists already.', 'Sign in, or use another address.'],
  email_malformed: [422, 'This is not an e-mail address.', 'Write it as name@example.org.'],
  invitation_of_another: [
    403,
    'This invitation is for another e-mail address.',
    'Sign in with the address that was invited, or ask for another invitation.',
  ],
  link_not_valid: [403, 'This link has expired or was used already.', 'Ask for another: `sovra admin link` makes one on the server.'],
  refresh_token_not_found: [400, 'Invalid refresh token: not found.', 'Sign in again.'],
  refresh_token_already_used: [400, 'Invalid refresh token: already used.', 'The session was ended for safety; sign in again.'],
  too_many_sign_ins: [429, 'Too many sign-ins at once.', 'Wait for the seconds of Retry-After and try again.'],
  wake_budget_spent: [
    429,
    'Requests without a key may wake sleeping projects only {limit} times an hour from one address.',
    'Send a key of the project, or wait for the seconds of Retry-After.',
  ],
  csrf_refused: [
    403,
    'A request with the session cookie must come from this site.',
    'Programs send a token as `Authorization: Bearer …` instead of the cookie.',
  ],
  route_undeclared: [
    500,
    'The route {method} {url} does not say {what}.',
    "Give it `config: { action, resource }` from contract/actions.ts; a public one says `action: 'public'`.",
  ],
  key_in_use: [409, 'This key still signs; rotate first.', '`sovra keys rotate` makes the next one.'],
  // The server's own databases (base/db, metadata).
  metadata_unavailable: [
    503,
    'The database of the server does not answer: {reason}.',
    'Try again; see that the database of config.yaml runs.',
  ],
  metadata_refused: [
    500,
    'The database refused the sign-in: {reason}.',
    'Correct database.connection_string (or SOVRABASE_DATABASE_CONNECTION_STRING).',
  ],
  metadata_malformed: [
    500,
    'database.connection_string cannot be used: {reason}.',
    'Write postgresql://user:password@host:5432/name or mysql://user:password@host:3306/name.',
  ],
  metadata_newer: [
    500,
    'The data was written by a newer version of Sovrabase: it knows the migration {name}, this version does not.',
    'Start that version (or a later one), or restore a backup that this version made.',
  ],
  metadata_locked: [503, 'Another process is bringing the database forward since {seconds} s.', 'Wait until it is done, or end it.'],
  migration_failed: [
    500,
    'The migration {name} of the database failed.',
    'Nothing is half done: correct the cause, which the log tells, and start again.',
  ],
  statement_outside_transaction: [
    500,
    'A statement was sent beside the open transaction from within it.',
    'Use the handle that the transaction gives (`trx`), also in what it calls.',
  ],
  setting_malformed: [
    400,
    'The settings of the section {section} are not valid at {path}: {reason}.',
    'See the schema of the section in /v1/openapi.json.',
  ],
  setting_changed: [
    412,
    'The settings of the section {section} were changed by somebody else meanwhile.',
    'Read them again and repeat the change.',
  ],

  // apis/rest: PostgREST's codes, messages and statuses. The hint of some is made where they arise (`hint`); '' is rendered as null.
  PGRST100: [400, '{message}', ''],
  PGRST101: [405, 'Cannot use the {method} method on RPC', ''],
  PGRST102: [400, '{reason}', ''],
  PGRST103: [416, 'Requested range not satisfiable', ''],
  PGRST105: [405, "Filters must include all and only primary key columns with 'eq' operators", ''],
  PGRST106: [406, 'Invalid schema: {schema}', 'Only the following schemas are exposed: {schemas}'],
  PGRST107: [406, 'None of these media types are available: {types}', ''],
  PGRST108: [
    400,
    "'{name}' is not an embedded resource in this request",
    "Verify that '{name}' is included in the 'select' query parameter.",
  ],
  PGRST111: [500, 'response.headers guc must be a JSON array composed of objects with a single key and a string value', ''],
  PGRST112: [500, 'response.status guc must be a valid status code', ''],
  PGRST114: [400, 'limit/offset querystring parameters are not allowed for PUT', ''],
  PGRST115: [400, 'Payload values do not match URL in primary key column(s)', ''],
  PGRST116: [406, 'Cannot coerce the result to a single JSON object', ''],
  PGRST117: [405, 'Unsupported HTTP method: {method}', ''],
  PGRST118: [400, "A related order on '{name}' is not possible", ''],
  PGRST120: [400, "Bad operator on the '{name}' embedded resource", ''],
  PGRST121: [500, 'Could not parse JSON in the "RAISE SQLSTATE \'PGRST\'" error', '{hint}'],
  PGRST122: [400, 'Invalid preferences given with handling=strict', ''],
  PGRST123: [400, 'Use of aggregate functions is not allowed', ''],
  PGRST124: [400, 'Query result exceeds max-affected preference constraint', ''],
  PGRST125: [404, 'Invalid path specified in request URL', ''],
  PGRST127: [400, 'Feature not implemented', ''],
  PGRST128: [400, 'Function must return SETOF or TABLE when max-affected preference is used with handling=strict', ''],
  PGRST200: [400, "Could not find a relationship between '{parent}' and '{child}' in the schema cache", '{hint}'],
  PGRST201: [
    300,
    "Could not embed because more than one relationship was found for '{parent}' and '{child}'",
    "Try changing '{child}' to one of the following: {candidates}. Find the desired relationship in the 'details' key.",
  ],
  PGRST202: [404, 'Could not find the function {function} in the schema cache', '{hint}'],
  PGRST203: [
    300,
    'Could not choose the best candidate function between: {candidates}',
    'Try renaming the parameters or the function itself in the database so function overloading can be resolved',
  ],
  PGRST204: [400, "Could not find the '{column}' column of '{table}' in the schema cache", ''],
  PGRST205: [404, "Could not find the table '{schema}.{table}' in the schema cache", '{hint}'],
  // engines/postgres
  engine_not_ready: [
    503,
    'PostgreSQL did not get ready within {seconds} s: {reason}.',
    'Its log says why; it is started again at the next request.',
  ],
  engine_version_unsupported: [
    500,
    'PostgreSQL {version} cannot be used: {reason}.',
    'Use the bundled one (leave engines.postgres.bin_dir out), or PostgreSQL {wanted} of your distribution.',
  ],
  extension_tree_invalid: [
    500,
    'The extensions of PostgreSQL in {dir} cannot be prepared: {reason}.',
    'Remove that directory and start again.',
  ],
  extension_refused: [400, 'The extension {name} is not on the list of allowed ones.', 'Allowed: {allowed}.'],
  extension_failed: [
    500,
    'The extension {name} could not be made in the schema extensions (SQLSTATE {sqlstate}).',
    'Remove what stands in its way, or take it out of the spec; the next wake tries again.',
  ],
  system_schema_files: [
    500,
    'The files of the system schema are not in order: {reason}.',
    'Restore the installation; they are part of it.',
  ],
  system_schema_failed: [
    500,
    'The system schema of the project could not be brought forward: {file} failed (SQLSTATE {sqlstate}).',
    'The project runs on with its former version. Remove what stands in the way and put it to sleep: the next wake tries again.',
  ],
  system_schema_changed: [
    500,
    'The system schema {version} of the project is not the one that this server has.',
    'Start the server that wrote it.',
  ],
  system_schema_newer: [
    500,
    'The system schema of the project is at {version}, this server knows up to {known}.',
    'Start the newer server that wrote it (or a later one).',
  ],
  cluster_sign_in_refused: [
    503,
    'The server could not sign in to the PostgreSQL of the project.',
    'It is tried again at the next request.',
  ],
  disk_quota_exceeded: [
    507,
    'The project has used up its disk quota of {limit} MiB.',
    'Delete or truncate rows, drop tables, or ask for a larger quota. On the wire protocol first: SET default_transaction_read_only = off.',
  ],

  // control
  name_taken: [409, 'The name {name} is taken.', 'Choose another name.'],
  organisation_in_use: [
    409,
    'The organisation still has projects.',
    'Delete and purge its projects, or move them to another organisation.',
  ],
  last_owner: [409, 'An organisation keeps at least one owner.', 'Make somebody else an owner first.'],
  role_unknown: [400, 'There is no role named {role}.', 'The roles: {known}.'],
  role_too_high: [403, 'You may not give or take the role {role}.', 'Only an owner makes owners.'],
  quota_exceeded: [403, 'The organisation has {limit} projects, its limit.', 'Delete one, or let the operator raise the limit.'],
  over_organisation_limit: [
    403,
    'A project of this organisation may have {what} up to {limit} (sizes in MiB); 0 would be no limit.',
    'Ask for less, or let the operator raise it: PATCH /v1/organisations/<name>/quotas.',
  ],
  idempotency_mismatch: [422, 'This Idempotency-Key was used for another request.', 'Take a new key for each request.'],
  idempotency_running: [
    409,
    'The first request with this Idempotency-Key is still running.',
    'Ask again after the seconds of Retry-After.',
  ],
  project_deleted: [409, 'The project is deleted.', 'Restore it first: `sovra projects restore`.'],
  project_not_deleted: [409, 'The project is not deleted.', 'Only a deleted project is restored or purged.'],
  project_busy: [409, 'The project has requests under way.', 'Try again, or force it.'],
  version_conflict: [412, 'It was changed by somebody else in the meantime.', 'Read it again and send the new version as If-Match.'],
  user_unknown: [404, 'There is no administrator {email}.', 'Name the e-mail of an administrator of this installation.'],
  wire_off: [409, 'The PostgreSQL listener is off.', 'Set wire.port in config.yaml.'],
  port_busy: [409, 'The port {port} of {host} is in use by another program.', 'Free it, or set {variable} to another one.'],
  port_refused: [
    409,
    'The port {port} of {host} cannot be listened on.',
    'Ports below 1024 need rights, and the address must be of this machine; set {variable}.',
  ],
  setup_done: [409, 'The installation is set up already.', '`sovra admin link` makes a link that signs you in.'],
  spec_invalid: [400, 'The spec of the service {name} is not valid: {reason}.', 'Look at /docs for what the engine takes.'],

  // cli
  server_not_running: [503, 'No server runs on {dir}.', 'Start it with `sovra start`, or name another one with --server.'],
  server_starting: [503, 'The server (pid {pid}) is still starting.', 'Try again in a moment.'],
  server_unreachable: [503, '{url} does not answer as it should: {reason}.', 'Check the address, and that the server runs.'],
  server_unknown: [404, 'There is no server named {name}.', 'Known: {known}. `sovra login URL --name NAME` adds one.'],
  not_signed_in: [401, 'You are not signed in to {server}.', 'Run `sovra login {url}`.'],
  data_closed: [403, 'The data directory {dir} belongs to another user.', 'Run this as that user (sudo), or sign in: `sovra login URL`.'],
  servers_file_unusable: [500, '{file} cannot be used: {reason}.', 'Correct or remove it, and sign in again.'],
  usage_wrong: [400, '{reason}.', '{hint}'],
  project_unknown: [404, 'There is no project {name}.', '`sovra projects list` shows those that you may know of.'],
  organisation_needed: [400, 'There is more than one organisation: say which.', 'Add --org with one of: {known}.'],
  organisation_none: [404, 'There is no organisation yet.', 'Make one: `sovra orgs create NAME`.'],
  name_ambiguous: [400, 'The name {name} means more than one thing.', 'Say which: {known}.'],
  project_not_ready: [
    503,
    'The project {ref} was made, but its service {service} is {status}: {reason}.',
    'See `sovra projects show {ref}`.',
  ],
  member_unknown: [404, 'There is no member {name} in {organisation}.', '`sovra members list` shows them.'],
  key_unknown: [404, 'There is no living key {name}.', '`sovra keys list PROJECT` shows them.'],
  sql_failed: [400, '{message} (SQLSTATE {sqlstate})', '{hint}'],

  // migrations, dumps
  migration_failed: [400, '{place}: {message} (SQLSTATE {sqlstate})', '{hint}'],
  migrations_invalid: [400, 'The migrations in {dir} cannot be used: {reason}.', '{hint}'],
  migrations_out_of_order: [
    409,
    'Older than the last migration of {project}, and not applied to it: {versions}.',
    'Rename them to a newer version, or apply them all the same with --include-all.',
  ],
  migrations_missing: [
    409,
    '{project} has migrations that are not in {dir}: {versions}.',
    'Fetch their files, or let the project forget them: `sovra db migration repair {project} {versions} --status reverted`.',
  ],
  migration_changed: [
    409,
    '{file} was applied half-way ({done} of its statements), and its beginning has changed since.',
    'Restore those statements and change only later ones, or begin anew: `sovra db migration repair {project} {version} --status reverted`.',
  ],
  migration_busy: [409, 'Another migration of {project} has been running for {seconds} s.', 'Wait for it, and try again.'],
  extension_unavailable: [400, 'The extension {name} is not to be had here.', '{substitute}'],
  tools_missing: [
    501,
    "PostgreSQL's {program} of version {major} is not here.",
    'Run `make tools` in the checkout of Sovrabase, or install postgresql-client-{major} of your distribution.',
  ],
  tool_failed: [400, '{program} failed: {message}', '{hint}'],
} as const satisfies Record<string, readonly [status: number, message: string, hint: string]>

export type ErrorCode = keyof typeof ERRORS

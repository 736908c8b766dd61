// Sorting and filtering of the tables by DataTables; folding; nothing else.
"use strict";
(function () {
  const said = document.documentElement.dataset;  // the page's language; {} is filled in
  const fill = (text, ...values) => values.reduce((filled, value) => filled.replace("{}", () => value), text);
  const quiet = { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null };

  function choiceBox(api, index, heading) {
    const values = new Set();
    api.rows().every(function () { values.add(this.node().cells[index].textContent.trim()); });
    const box = document.createElement("select");
    box.setAttribute("aria-label", fill(said.only, heading));
    box.append(new Option(fill(said.every, heading), ""));
    values.forEach((value) => box.append(new Option(value, value)));
    box.addEventListener("change", function () {
      const escaped = box.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      api.column(index).search(box.value ? "^" + escaped + "$" : "", true, false).draw();
    });
    return box;
  }

  function controls(table, api) {
    const bar = document.createElement("div");
    bar.className = "controls";
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = table.dataset.search;
    search.setAttribute("aria-label", table.dataset.search);
    search.addEventListener("input", () => api.search(search.value).draw());
    bar.append(search);
    table.querySelectorAll("thead th").forEach(function (head, index) {
      if (head.hasAttribute("data-filter")) bar.append(choiceBox(api, index, head.textContent.trim()));
    });
    const count = document.createElement("span");
    count.className = "count";
    const tell = function () {
      const shown = api.rows({ search: "applied" }).count(), all = api.rows().count();
      count.textContent = shown === all ? fill(said.rows, all) : fill(said.rowsOf, shown, all);
    };
    api.on("draw", tell);
    tell();
    bar.append(count);
    table.closest(".table-wrap").before(bar);
  }

  document.querySelectorAll("table.data").forEach(function (table) {
    const api = new DataTable(table, {
      paging: false, info: false, autoWidth: false, order: [], layout: quiet,
      ordering: !table.hasAttribute("data-fixed"),
      columnDefs: [{ targets: "texts", orderable: false }],
      language: { zeroRecords: said.noRow },
    });
    if (!table.hasAttribute("data-plain")) controls(table, api);
  });

  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  }
  addEventListener("hashchange", openTarget);
  openTarget();
  document.querySelectorAll("button[data-open]").forEach(function (button) {
    button.addEventListener("click", function () {
      document.querySelectorAll("details.training").forEach((training) => { training.open = button.dataset.open === "all"; });
    });
  });
})();
